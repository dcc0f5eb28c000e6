
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stddef.h>

#include "egressctl.h"
#include "schema.h"


/*
 * The one table of all fields of all kinds, and what becomes of each: README's
 * is made from it (egressctl fields --markdown), and a test walks Istio's CRDs
 * for fields without a row.  A table that several kinds share stands once; a
 * row that has no effect, or is refused, speaks for all below it.
 */

#define MESH_SIDE  "it is for the client's side"
#define IDLE       "it names or describes, and decides nothing"
#define BY_ENVOY   "it is about Envoy itself"
#define AT_SOURCE  "Istio does not look at it at a gateway, so the rule is " \
                   "for all sources: remove it, and write an " \
                   "AuthorizationPolicy"


static const field_t  label_selector[] = {
    { "matchLabels", F_LABELS, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  workload_selector[] = {
    { "labels", F_LABELS, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  target_ref[] = {
    { "group", F_STR0, F_LATER, 0, NULL, NULL },
    { "kind", F_STR, F_LATER, F_MUST, NULL, NULL },
    { "name", F_STR, F_LATER, F_MUST, NULL, NULL },
    { "namespace", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  service_port[] = {
    { "number", F_PORT, F_USED, F_MUST, NULL, NULL },
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "protocol", F_WORD, F_USED, 0, NULL,
      "HTTP|HTTPS|GRPC|GRPC-WEB|HTTP2|MONGO|TCP|TLS|MYSQL|REDIS|POSTGRES" },
    { "targetPort", F_PORT, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  endpoint[] = {
    { "address", F_STR, F_USED, 0, NULL, NULL },
    { "ports", F_PORTS, F_USED, 0, NULL, NULL },
    { "labels", F_LABELS, F_USED, 0, NULL, NULL },
    { "weight", F_INT, F_USED, 0, NULL, NULL },
    { "locality", F_STR, F_USED, 0, NULL, NULL },
    { "network", F_STR0, F_LATER, 0, NULL, "endpoints of other networks are "
      "reached through another gateway there: write that one's address" },
    { "serviceAccount", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  service_entry[] = {
    { "hosts", F_STRS, F_USED, F_MUST, NULL, NULL },
    { "ports", F_MAPS, F_USED, 0, service_port, NULL },
    { "location", F_WORD, F_USED, 0, NULL, "MESH_EXTERNAL|MESH_INTERNAL" },
    { "resolution", F_WORD, F_USED, 0, NULL,
      "NONE|STATIC|DNS|DNS_ROUND_ROBIN|DYNAMIC_DNS" },
    { "endpoints", F_MAPS, F_USED, 0, endpoint, NULL },
    { "exportTo", F_STRS, F_USED, 0, NULL, NULL },
    { "addresses", F_STRS, F_NONE, 0, NULL,
      "they are where a sidecar captures, a gateway is addressed by name" },
    { "subjectAltNames", F_STRS, F_USED, 0, NULL, NULL },
    { "workloadSelector", F_MAP, F_USED, 0, workload_selector, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_port[] = {
    { "number", F_PORT, F_USED, F_MUST, NULL, NULL },
    { "name", F_STR, F_IDLE, 0, NULL, IDLE },
    { "protocol", F_WORD, F_USED, F_MUST, NULL,
      "HTTP|HTTPS|GRPC|GRPC-WEB|HTTP2|MONGO|TCP|TLS|MYSQL|REDIS" },
    { "targetPort", F_PORT, F_LATER, 0, NULL,
      "Istio refuses it too: see --listen" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_certificate[] = {
    { "serverCertificate", F_STR, F_USED, 0, NULL, NULL },
    { "privateKey", F_STR, F_USED, 0, NULL, NULL },
    { "caCertificates", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_tls[] = {
    { "mode", F_WORD, F_USED, 0, NULL,
      "PASSTHROUGH|SIMPLE|MUTUAL|AUTO_PASSTHROUGH|ISTIO_MUTUAL"
      "|OPTIONAL_MUTUAL" },
    { "httpsRedirect", F_BOOL, F_USED, 0, NULL, NULL },
    { "credentialName", F_STR, F_USED, 0, NULL, NULL },
    { "credentialNames", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "serverCertificate", F_STR, F_USED, 0, NULL, NULL },
    { "privateKey", F_STR, F_USED, 0, NULL, NULL },
    { "caCertificates", F_STR, F_USED, 0, NULL, NULL },
    { "caCrl", F_STR, F_USED, 0, NULL, NULL },
    { "subjectAltNames", F_STRS, F_LATER, 0, NULL,
      "nginx compares no SAN of a client: write the identities into an "
      "AuthorizationPolicy" },
    { "minProtocolVersion", F_WORD, F_USED, 0, NULL,
      "TLS_AUTO|TLSV1_0|TLSV1_1|TLSV1_2|TLSV1_3" },
    { "maxProtocolVersion", F_WORD, F_USED, 0, NULL,
      "TLS_AUTO|TLSV1_0|TLSV1_1|TLSV1_2|TLSV1_3" },
    { "cipherSuites", F_STRS, F_USED, 0, NULL, NULL },
    { "tlsCertificates", F_MAPS, F_USED, F_FILLED, gateway_certificate,
      NULL },
    { "caCertCredentialName", F_STR, F_USED, 0, NULL, NULL },
    { "insecureSkipVerify", F_BOOL, F_LATER, 0, NULL,
      "an identity that nobody verified is none" },
    { "ecdhCurves", F_STRS, F_USED, 0, NULL, NULL },
    { "verifyCertificateSpki", F_STRS, F_LATER, 0, NULL,
      "nginx pins no key of a client" },
    { "verifyCertificateHash", F_STRS, F_LATER, 0, NULL,
      "nginx pins no certificate of a client" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_server[] = {
    { "port", F_MAP, F_USED, F_MUST, gateway_port, NULL },
    { "hosts", F_STRS, F_USED, F_MUST, NULL, NULL },
    { "tls", F_MAP, F_USED, 0, gateway_tls, NULL },
    { "name", F_STR0, F_IDLE, 0, NULL, IDLE },
    { "bind", F_STR, F_LATER, 0, NULL,
      "say with --listen where a port is bound" },
    { "defaultEndpoint", F_STR, F_NONE, 0, NULL, "Istio ignores it as well" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway[] = {
    { "selector", F_LABELS, F_USED, 0, NULL, NULL },
    { "servers", F_MAPS, F_USED, F_MUST, gateway_server, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  destination_port[] = {
    { "number", F_PORT, F_USED, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  destination[] = {
    { "host", F_STR, F_USED, F_MUST, NULL, NULL },
    { "port", F_MAP, F_USED, 0, destination_port, NULL },
    { "subset", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  header_operations[] = {
    { "set", F_LABELS, F_USED, 0, NULL, NULL },
    { "add", F_LABELS, F_USED, 0, NULL, NULL },
    { "remove", F_STRS, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  headers[] = {
    { "request", F_MAP, F_USED, 0, header_operations, NULL },
    { "response", F_MAP, F_USED, 0, header_operations, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_destination[] = {
    { "destination", F_MAP, F_USED, F_MUST, destination, NULL },
    { "weight", F_INT, F_USED, 0, NULL, NULL },
    { "headers", F_MAP, F_USED, 0, headers, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  route_destination[] = {
    { "destination", F_MAP, F_USED, F_MUST, destination, NULL },
    { "weight", F_INT, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tls_match[] = {
    { "sniHosts", F_STRS, F_USED, F_MUST, NULL, NULL },
    { "port", F_PORT, F_USED, 0, NULL, NULL },
    { "gateways", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "destinationSubnets", F_STRS, F_LATER, 0, NULL, AT_SOURCE },
    { "sourceLabels", F_LABELS, F_LATER, 0, NULL, AT_SOURCE },
    { "sourceNamespace", F_STR, F_LATER, 0, NULL, AT_SOURCE },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tls_route[] = {
    { "match", F_MAPS, F_USED, F_MUST, tls_match, NULL },
    { "route", F_MAPS, F_USED, F_MUST, route_destination, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tcp_match[] = {
    { "port", F_PORT, F_USED, 0, NULL, NULL },
    { "gateways", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "destinationSubnets", F_STRS, F_LATER, 0, NULL, AT_SOURCE },
    { "sourceLabels", F_LABELS, F_LATER, 0, NULL, AT_SOURCE },
    { "sourceNamespace", F_STR, F_LATER, 0, NULL, AT_SOURCE },
    { "sourceSubnet", F_STR, F_LATER, 0, NULL, AT_SOURCE },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tcp_route[] = {
    { "match", F_MAPS, F_USED, 0, tcp_match, NULL },
    { "route", F_MAPS, F_USED, F_MUST, route_destination, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  string_match[] = {
    { "exact", F_STR0, F_USED, 0, NULL, NULL },
    { "prefix", F_STR, F_USED, 0, NULL, NULL },
    { "regex", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_match[] = {
    { "port", F_PORT, F_USED, 0, NULL, NULL },
    { "gateways", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "uri", F_MAP, F_USED, 0, string_match, NULL },
    { "scheme", F_MAP, F_USED, 0, string_match, NULL },
    { "method", F_MAP, F_USED, 0, string_match, NULL },
    { "authority", F_MAP, F_USED, 0, string_match, NULL },
    { "headers", F_MAPMAP, F_USED, 0, string_match, NULL },
    { "withoutHeaders", F_MAPMAP, F_USED, 0, string_match, NULL },
    { "queryParams", F_MAPMAP, F_USED, 0, string_match, NULL },
    { "ignoreUriCase", F_BOOL, F_USED, 0, NULL, NULL },
    { "sourceLabels", F_LABELS, F_USED, 0, NULL, NULL },
    { "sourceNamespace", F_STR, F_USED, 0, NULL, NULL },
    { "statPrefix", F_STR, F_IDLE, 0, NULL, "it names a statistic of Envoy" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  percent[] = {
    { "value", F_NUM, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_redirect[] = {
    { "uri", F_STR, F_USED, 0, NULL, NULL },
    { "authority", F_STR, F_USED, 0, NULL, NULL },
    { "scheme", F_WORD, F_USED, 0, NULL, "http|https" },
    { "port", F_PORT, F_USED, 0, NULL, NULL },
    { "derivePort", F_WORD, F_USED, 0, NULL,
      "FROM_PROTOCOL_DEFAULT|FROM_REQUEST_PORT" },
    { "redirectCode", F_INT, F_USED, 0, NULL, NULL },
    { "prefixRewrite", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_body[] = {
    { "string", F_STR0, F_USED, 0, NULL, NULL },
    { "bytes", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  direct_response[] = {
    { "status", F_INT, F_USED, F_MUST, NULL, NULL },
    { "body", F_MAP, F_USED, 0, http_body, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_delegate[] = {
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "namespace", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  regex_rewrite[] = {
    { "match", F_STR, F_USED, 0, NULL, NULL },
    { "rewrite", F_STR0, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_rewrite[] = {
    { "uri", F_STR, F_USED, 0, NULL, NULL },
    { "authority", F_STR, F_USED, 0, NULL, NULL },
    { "uriRegexRewrite", F_MAP, F_USED, 0, regex_rewrite, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_retries[] = {
    { "attempts", F_INT, F_USED, 0, NULL, NULL },
    { "perTryTimeout", F_TIME, F_USED, 0, NULL, NULL },
    { "retryOn", F_STR, F_USED, 0, NULL, NULL },
    { "retryIgnorePreviousHosts", F_BOOL, F_NONE, 0, NULL,
      "a retry goes to another endpoint, if there is one" },
    { "retryRemoteLocalities", F_BOOL, F_NONE, 0, NULL,
      "a retry goes to another locality when the near ones are left out" },
    { "backoff", F_TIME, F_LATER, 0, NULL,
      "a retry is made at once: remove it, if that will do" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  fault_abort[] = {
    { "httpStatus", F_INT, F_USED, 0, NULL, NULL },
    { "grpcStatus", F_STR, F_USED, 0, NULL, NULL },
    { "http2Error", F_STR, F_LATER, 0, NULL, "Istio refuses it too" },
    { "percentage", F_MAP, F_USED, 0, percent, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  fault_delay[] = {
    { "fixedDelay", F_TIME, F_USED, 0, NULL, NULL },
    { "percentage", F_MAP, F_USED, 0, percent, NULL },
    { "percent", F_INT, F_USED, 0, NULL, NULL },
    { "exponentialDelay", F_STR, F_LATER, 0, NULL, "Istio refuses it too" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_fault[] = {
    { "abort", F_MAP, F_USED, 0, fault_abort, NULL },
    { "delay", F_MAP, F_USED, 0, fault_delay, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_mirror[] = {
    { "destination", F_MAP, F_USED, F_MUST, destination, NULL },
    { "percentage", F_MAP, F_USED, 0, percent, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  cors_policy[] = {
    { "allowOrigins", F_MAPS, F_USED, 0, string_match, NULL },
    { "allowOrigin", F_STRS, F_USED, 0, NULL, NULL },
    { "allowMethods", F_STRS, F_USED, 0, NULL, NULL },
    { "allowHeaders", F_STRS, F_USED, 0, NULL, NULL },
    { "exposeHeaders", F_STRS, F_USED, 0, NULL, NULL },
    { "maxAge", F_TIME, F_USED, 0, NULL, NULL },
    { "allowCredentials", F_BOOL, F_USED, 0, NULL, NULL },
    { "unmatchedPreflights", F_WORD, F_USED, 0, NULL,
      "UNSPECIFIED|FORWARD|IGNORE" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_route[] = {
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "match", F_MAPS, F_USED, 0, http_match, NULL },
    { "route", F_MAPS, F_USED, 0, http_destination, NULL },
    { "redirect", F_MAP, F_USED, 0, http_redirect, NULL },
    { "directResponse", F_MAP, F_USED, 0, direct_response, NULL },
    { "delegate", F_MAP, F_USED, 0, http_delegate, NULL },
    { "rewrite", F_MAP, F_USED, 0, http_rewrite, NULL },
    { "timeout", F_TIME, F_USED, 0, NULL, NULL },
    { "retries", F_MAP, F_USED, 0, http_retries, NULL },
    { "fault", F_MAP, F_USED, 0, http_fault, NULL },
    { "mirror", F_MAP, F_USED, 0, destination, NULL },
    { "mirrors", F_MAPS, F_USED, 0, http_mirror, NULL },
    { "mirrorPercentage", F_MAP, F_USED, 0, percent, NULL },
    { "mirrorPercent", F_INT, F_USED, 0, NULL, NULL },
    { "mirror_percent", F_INT, F_USED, 0, NULL, NULL },
    { "corsPolicy", F_MAP, F_USED, 0, cors_policy, NULL },
    { "headers", F_MAP, F_USED, 0, headers, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  virtual_service[] = {
    { "hosts", F_STRS, F_USED, 0, NULL, NULL },
    { "gateways", F_STRS, F_USED, 0, NULL, NULL },
    { "http", F_MAPS, F_USED, 0, http_route, NULL },
    { "tls", F_MAPS, F_USED, 0, tls_route, NULL },
    { "tcp", F_MAPS, F_USED, 0, tcp_route, NULL },
    { "exportTo", F_STRS, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  client_tls[] = {
    { "mode", F_WORD, F_USED, 0, NULL,
      "DISABLE|SIMPLE|MUTUAL|ISTIO_MUTUAL" },
    { "clientCertificate", F_STR, F_USED, 0, NULL, NULL },
    { "privateKey", F_STR, F_USED, 0, NULL, NULL },
    { "caCertificates", F_STR, F_USED, 0, NULL, NULL },
    { "caCrl", F_STR, F_USED, 0, NULL, NULL },
    { "credentialName", F_STR, F_USED, 0, NULL, NULL },
    { "subjectAltNames", F_STRS, F_USED, 0, NULL, NULL },
    { "sni", F_STR, F_USED, 0, NULL, NULL },
    { "insecureSkipVerify", F_BOOL, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tcp_keepalive[] = {
    { "time", F_TIME, F_USED, 0, NULL, NULL },
    { "interval", F_TIME, F_USED, 0, NULL, NULL },
    { "probes", F_INT, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  pool_tcp[] = {
    { "connectTimeout", F_TIME, F_USED, 0, NULL, NULL },
    { "maxConnections", F_INT, F_USED, 0, NULL, NULL },
    { "tcpKeepalive", F_MAP, F_USED, 0, tcp_keepalive, NULL },
    { "maxConnectionDuration", F_TIME, F_LATER, 0, NULL,
      "nothing here ends a connection that is in use: see idleTimeout" },
    { "idleTimeout", F_TIME, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http2_keepalive[] = {
    { "interval", F_TIME, F_NONE, 0, NULL, NULL },
    { "timeout", F_TIME, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  pool_http[] = {
    { "http1MaxPendingRequests", F_INT, F_USED, 0, NULL, NULL },
    { "http2MaxRequests", F_INT, F_USED, 0, NULL, NULL },
    { "maxRequestsPerConnection", F_INT, F_USED, 0, NULL, NULL },
    { "maxRetries", F_INT, F_USED, 0, NULL, NULL },
    { "idleTimeout", F_TIME, F_USED, 0, NULL, NULL },
    { "h2UpgradePolicy", F_WORD, F_USED, 0, NULL,
      "DEFAULT|DO_NOT_UPGRADE|UPGRADE" },
    { "useClientProtocol", F_BOOL, F_USED, 0, NULL, NULL },
    { "maxConcurrentStreams", F_INT, F_NONE, 0, NULL,
      "a connection to a service carries one request at a time" },
    { "http2KeepAlive", F_MAP, F_NONE, 0, http2_keepalive,
      "nginx pings nobody: see tcpKeepalive" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  connection_pool[] = {
    { "tcp", F_MAP, F_USED, 0, pool_tcp, NULL },
    { "http", F_MAP, F_USED, 0, pool_http, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  cookie_attribute[] = {
    { "name", F_STR, F_LATER, F_MUST, NULL, NULL },
    { "value", F_STR0, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  hash_cookie[] = {
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "path", F_STR, F_NONE, 0, NULL, "no cookie is made here" },
    { "ttl", F_STR, F_LATER, 0, NULL,
      "no cookie is made here for those who have none: leave it out to use "
      "the one that the client sends" },
    { "attributes", F_MAPS, F_LATER, 0, cookie_attribute,
      "no cookie is made here" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  ring_hash[] = {
    { "minimumRingSize", F_INT, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  maglev[] = {
    { "tableSize", F_INT, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

#define NO_RING  "rendezvous hashing has no table whose size matters"

static const field_t  consistent_hash[] = {
    { "httpHeaderName", F_STR, F_USED, 0, NULL, NULL },
    { "httpCookie", F_MAP, F_USED, 0, hash_cookie, NULL },
    { "useSourceIp", F_BOOL, F_USED, 0, NULL, NULL },
    { "httpQueryParameterName", F_STR, F_USED, 0, NULL, NULL },
    { "ringHash", F_MAP, F_NONE, 0, ring_hash, NO_RING },
    { "maglev", F_MAP, F_NONE, 0, maglev, NO_RING },
    { "minimumRingSize", F_INT, F_NONE, 0, NULL, NO_RING },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  locality_distribute[] = {
    { "from", F_STR, F_USED, 0, NULL, NULL },
    { "to", F_LABELS, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  locality_failover[] = {
    { "from", F_STR, F_USED, 0, NULL, NULL },
    { "to", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  locality_setting[] = {
    { "enabled", F_BOOL, F_USED, 0, NULL, NULL },
    { "distribute", F_MAPS, F_USED, 0, locality_distribute, NULL },
    { "failover", F_MAPS, F_USED, 0, locality_failover, NULL },
    { "failoverPriority", F_STRS, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  zone_aware[] = {
    { "enabled", F_BOOL, F_LATER, 0, NULL, NULL },
    { "failover", F_MAPS, F_LATER, 0, locality_failover, NULL },
    { "failoverPriority", F_STRS, F_LATER, 0, NULL, NULL },
    { "minClusterSize", F_INT, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  backend_utilization[] = {
    { "errorUtilizationPenaltyPercent", F_INT, F_LATER, 0, NULL, NULL },
    { "metricNamesForComputingUtilization", F_STRS, F_LATER, 0, NULL, NULL },
    { "weightExpirationPeriod", F_STR, F_LATER, 0, NULL, NULL },
    { "weightStabilizationPeriod", F_STR, F_LATER, 0, NULL, NULL },
    { "weightUpdatePeriod", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  warmup[] = {
    { "duration", F_TIME, F_LATER, 0, NULL, NULL },
    { "minimumPercent", F_NUM, F_LATER, 0, NULL, NULL },
    { "aggression", F_NUM, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

#define NO_WARMUP  "a new endpoint gets its whole part of the traffic at " \
                   "once: remove it, if that will do"

static const field_t  load_balancer[] = {
    { "simple", F_WORD, F_USED, 0, NULL,
      "UNSPECIFIED|LEAST_CONN|RANDOM|PASSTHROUGH|ROUND_ROBIN"
      "|LEAST_REQUEST" },
    { "consistentHash", F_MAP, F_USED, 0, consistent_hash, NULL },
    { "localityLbSetting", F_MAP, F_USED, 0, locality_setting, NULL },
    { "zoneAwareLbSetting", F_MAP, F_LATER, 0, zone_aware,
      "write localityLbSetting instead" },
    { "backendUtilization", F_MAP, F_LATER, 0, backend_utilization,
      "endpoints report no load here: remove it, if that will do" },
    { "warmup", F_MAP, F_LATER, 0, warmup, NO_WARMUP },
    { "warmupDurationSecs", F_STR, F_LATER, 0, NULL, NO_WARMUP },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  outlier_detection[] = {
    { "consecutive5xxErrors", F_INT, F_USED, 0, NULL, NULL },
    { "consecutiveGatewayErrors", F_INT, F_USED, 0, NULL, NULL },
    { "consecutiveErrors", F_INT, F_NONE, 0, NULL,
      "Istio ignores it as well: consecutive5xxErrors is what is meant" },
    { "consecutiveLocalOriginFailures", F_INT, F_USED, 0, NULL, NULL },
    { "splitExternalLocalOriginErrors", F_BOOL, F_USED, 0, NULL, NULL },
    { "interval", F_TIME, F_USED, 0, NULL, NULL },
    { "baseEjectionTime", F_TIME, F_USED, 0, NULL, NULL },
    { "maxEjectionPercent", F_INT, F_USED, 0, NULL, NULL },
    { "minHealthPercent", F_INT, F_USED, 0, NULL, NULL },
    { "outlierDetectionHttpErrorCodes", F_INTS, F_LATER, 0, NULL,
      "5xx answers are what counts here: consecutiveGatewayErrors counts "
      "502, 503 and 504" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  port_policy[] = {
    { "port", F_MAP, F_USED, F_MUST, destination_port, NULL },
    { "tls", F_MAP, F_USED, 0, client_tls, NULL },
    { "connectionPool", F_MAP, F_USED, 0, connection_pool, NULL },
    { "loadBalancer", F_MAP, F_USED, 0, load_balancer, NULL },
    { "outlierDetection", F_MAP, F_USED, 0, outlier_detection, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tunnel[] = {
    { "protocol", F_STR, F_LATER, 0, NULL, NULL },
    { "targetHost", F_STR, F_LATER, F_MUST, NULL, NULL },
    { "targetPort", F_PORT, F_LATER, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  proxy_protocol[] = {
    { "version", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  retry_budget[] = {
    { "percent", F_NUM, F_LATER, 0, NULL, NULL },
    { "minRetryConcurrency", F_INT, F_LATER, 0, NULL, NULL },
    { "budgetInterval", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  traffic_policy[] = {
    { "tls", F_MAP, F_USED, 0, client_tls, NULL },
    { "connectionPool", F_MAP, F_USED, 0, connection_pool, NULL },
    { "loadBalancer", F_MAP, F_USED, 0, load_balancer, NULL },
    { "outlierDetection", F_MAP, F_USED, 0, outlier_detection, NULL },
    { "portLevelSettings", F_MAPS, F_USED, 0, port_policy, NULL },
    { "tunnel", F_MAP, F_LATER, 0, tunnel, "no CONNECT is sent to a proxy" },
    { "proxyProtocol", F_MAP, F_LATER, 0, proxy_protocol,
      "it would tell the service who its clients in the mesh are: remove it" },
    { "retryBudget", F_MAP, F_LATER, 0, retry_budget,
      "connectionPool.http.maxRetries bounds retries" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  subset[] = {
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "labels", F_LABELS, F_USED, 0, NULL, NULL },
    { "trafficPolicy", F_MAP, F_USED, 0, traffic_policy, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  destination_rule[] = {
    { "host", F_STR, F_USED, F_MUST, NULL, NULL },
    { "trafficPolicy", F_MAP, F_USED, 0, traffic_policy, NULL },
    { "subsets", F_MAPS, F_USED, 0, subset, NULL },
    { "exportTo", F_STRS, F_USED, 0, NULL, NULL },
    { "workloadSelector", F_MAP, F_USED, 0, label_selector, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authz_source[] = {
    { "principals", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notPrincipals", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "namespaces", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notNamespaces", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "serviceAccounts", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notServiceAccounts", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "requestPrincipals", F_STRS, F_NEVER, F_FILLED, NULL, NULL },
    { "notRequestPrincipals", F_STRS, F_NEVER, F_FILLED, NULL, NULL },
    { "trustDomains", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notTrustDomains", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "ipBlocks", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notIpBlocks", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "remoteIpBlocks", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notRemoteIpBlocks", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authz_from[] = {
    { "source", F_MAP, F_USED, F_MUST, authz_source, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authz_operation[] = {
    { "hosts", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notHosts", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "ports", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notPorts", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "methods", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notMethods", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "paths", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notPaths", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authz_to[] = {
    { "operation", F_MAP, F_USED, F_MUST, authz_operation, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authz_when[] = {
    { "key", F_STR, F_USED, F_MUST, NULL, NULL },
    { "values", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "notValues", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authz_rule[] = {
    { "from", F_MAPS, F_USED, F_FILLED, authz_from, NULL },
    { "to", F_MAPS, F_USED, F_FILLED, authz_to, NULL },
    { "when", F_MAPS, F_USED, F_FILLED, authz_when, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authz_provider[] = {
    { "name", F_STR, F_NEVER, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  authorization_policy[] = {
    { "selector", F_MAP, F_USED, 0, label_selector, NULL },
    { "action", F_WORD, F_USED, 0, NULL, "ALLOW|DENY|AUDIT|CUSTOM" },
    { "rules", F_MAPS, F_USED, 0, authz_rule, NULL },
    { "targetRef", F_MAP, F_LATER, 0, target_ref, NULL },
    { "targetRefs", F_MAPS, F_LATER, 0, target_ref, NULL },
    { "provider", F_MAP, F_NEVER, 0, authz_provider, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_sub[] = {
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_filter[] = {
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "subFilter", F_MAP, F_USED, 0, envoy_match_sub, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

#define ONE_CHAIN  "a listener has no filter chains here: match its port"

static const field_t  envoy_match_chain[] = {
    { "filter", F_MAP, F_USED, 0, envoy_match_filter, NULL },
    { "name", F_STR, F_LATER, 0, NULL, ONE_CHAIN },
    { "sni", F_STR, F_LATER, 0, NULL, ONE_CHAIN },
    { "transportProtocol", F_STR, F_LATER, 0, NULL, ONE_CHAIN },
    { "transportSocket", F_STR, F_LATER, 0, NULL, ONE_CHAIN },
    { "applicationProtocols", F_STR, F_LATER, 0, NULL, ONE_CHAIN },
    { "destinationPort", F_INT, F_LATER, 0, NULL, ONE_CHAIN },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_listener[] = {
    { "filterChain", F_MAP, F_USED, 0, envoy_match_chain, NULL },
    { "portNumber", F_INT, F_USED, 0, NULL, NULL },
    { "portName", F_STR, F_LATER, 0, NULL, "Istio ignores it: portNumber is "
      "what it looks at" },
    { "name", F_STR, F_LATER, 0, NULL, "listeners have no names here: match "
      "portNumber" },
    { "listenerFilter", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_route[] = {
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "action", F_WORD, F_USED, 0, NULL,
      "ANY|ROUTE|REDIRECT|DIRECT_RESPONSE" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_vhost[] = {
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "domainName", F_STR, F_USED, 0, NULL, NULL },
    { "route", F_MAP, F_USED, 0, envoy_match_route, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_config[] = {
    { "portNumber", F_INT, F_USED, 0, NULL, NULL },
    { "portName", F_STR, F_USED, 0, NULL, NULL },
    { "gateway", F_STR, F_USED, 0, NULL, NULL },
    { "vhost", F_MAP, F_USED, 0, envoy_match_vhost, NULL },
    { "name", F_STR, F_LATER, 0, NULL, "route configurations have no names "
      "here: match gateway and portNumber" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_proxy[] = {
    { "proxyVersion", F_STR, F_LATER, 0, NULL, NULL },
    { "metadata", F_LABELS, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_cluster[] = {
    { "name", F_STR, F_LATER, 0, NULL, NULL },
    { "service", F_STR, F_LATER, 0, NULL, NULL },
    { "subset", F_STR, F_LATER, 0, NULL, NULL },
    { "portNumber", F_INT, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_waypoint_route[] = {
    { "name", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_waypoint[] = {
    { "filter", F_MAP, F_LATER, 0, envoy_match_filter, NULL },
    { "portNumber", F_INT, F_LATER, 0, NULL, NULL },
    { "route", F_MAP, F_LATER, 0, envoy_waypoint_route, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match[] = {
    { "context", F_WORD, F_USED, 0, NULL,
      "ANY|SIDECAR_INBOUND|SIDECAR_OUTBOUND|GATEWAY|WAYPOINT" },
    { "listener", F_MAP, F_USED, 0, envoy_match_listener, NULL },
    { "proxy", F_MAP, F_LATER, 0, envoy_match_proxy,
      "this gateway has no version of Istio's proxy" },
    { "routeConfiguration", F_MAP, F_USED, 0, envoy_match_config, NULL },
    { "cluster", F_MAP, F_LATER, 0, envoy_match_cluster,
      "a DestinationRule says what a service needs" },
    { "waypoint", F_MAP, F_LATER, 0, envoy_match_waypoint,
      "this gateway is no waypoint" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_patch[] = {
    { "operation", F_WORD, F_USED, F_MUST, NULL,
      "INVALID|MERGE|ADD|REMOVE|INSERT_BEFORE|INSERT_AFTER|INSERT_FIRST"
      "|REPLACE|MERGE_AND_REPLACE_LIST" },
    { "value", F_ANY, F_USED, 0, NULL, NULL },
    { "filterClass", F_STR, F_LATER, 0, NULL,
      "policies come first here, rate limits after them" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_config_patch[] = {
    { "applyTo", F_WORD, F_USED, F_MUST, NULL,
      "INVALID|LISTENER|FILTER_CHAIN|NETWORK_FILTER|HTTP_FILTER"
      "|ROUTE_CONFIGURATION|VIRTUAL_HOST|HTTP_ROUTE|CLUSTER"
      "|EXTENSION_CONFIG|BOOTSTRAP|LISTENER_FILTER" },
    { "match", F_MAP, F_USED, 0, envoy_match, NULL },
    { "patch", F_MAP, F_USED, F_MUST, envoy_patch, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_filter[] = {
    { "workloadSelector", F_MAP, F_USED, 0, workload_selector, NULL },
    { "configPatches", F_MAPS, F_USED, F_MUST, envoy_config_patch, NULL },
    { "priority", F_ANY, F_NONE, 0, NULL,
      "rate limits do not depend on the order of filters" },
    { "targetRefs", F_MAPS, F_LATER, 0, target_ref,
      "it is for gateways of the Gateway API: write a workloadSelector" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  fraction[] = {
    { "numerator", F_INT, F_USED, 0, NULL, NULL },
    { "denominator", F_WORD, F_USED, 0, NULL,
      "HUNDRED|TEN_THOUSAND|MILLION" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  runtime_fraction[] = {
    { "runtime_key", F_STR, F_USED, 0, NULL, NULL },
    { "default_value", F_MAP, F_USED, F_MUST, fraction, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  token_bucket[] = {
    { "max_tokens", F_INT, F_USED, F_MUST, NULL, NULL },
    { "tokens_per_fill", F_INT, F_USED, 0, NULL, NULL },
    { "fill_interval", F_TIME, F_USED, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_status[] = {
    { "code", F_INT, F_USED, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  header_value[] = {
    { "key", F_STR, F_USED, F_MUST, NULL, NULL },
    { "value", F_STR, F_USED, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  header_option[] = {
    { "header", F_MAP, F_USED, F_MUST, header_value, NULL },
    { "append", F_BOOL, F_USED, 0, NULL, NULL },
    { "append_action", F_STR, F_USED, 0, NULL, NULL },
    { "keep_empty_value", F_BOOL, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  descriptor_entry[] = {
    { "key", F_STR, F_USED, F_MUST, NULL, NULL },
    { "value", F_STR0, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  local_descriptor[] = {
    { "entries", F_MAPS, F_USED, F_MUST, descriptor_entry, NULL },
    { "token_bucket", F_MAP, F_USED, F_MUST, token_bucket, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  generic_key[] = {
    { "descriptor_value", F_STR, F_USED, F_MUST, NULL, NULL },
    { "descriptor_key", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  request_headers[] = {
    { "header_name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "descriptor_key", F_STR, F_USED, F_MUST, NULL, NULL },
    { "skip_if_absent", F_BOOL, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  header_matcher[] = {
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "exact_match", F_STR, F_USED, 0, NULL, NULL },
    { "prefix_match", F_STR, F_USED, 0, NULL, NULL },
    { "present_match", F_BOOL, F_USED, 0, NULL, NULL },
    { "string_match", F_MAP, F_USED, 0, string_match, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  header_value_match[] = {
    { "descriptor_value", F_STR, F_USED, F_MUST, NULL, NULL },
    { "descriptor_key", F_STR, F_USED, 0, NULL, NULL },
    { "headers", F_MAPS, F_USED, F_MUST, header_matcher, NULL },
    { "expect_match", F_BOOL, F_LATER, 0, NULL,
      "write a match of what is there" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  no_fields[] = {
    { NULL, 0, 0, 0, NULL, NULL }
};

#define NO_ACTION  "generic_key, request_headers, remote_address, " \
                   "destination_cluster and header_value_match are there"

static const field_t  rate_limit_action[] = {
    { "generic_key", F_MAP, F_USED, 0, generic_key, NULL },
    { "request_headers", F_MAP, F_USED, 0, request_headers, NULL },
    { "remote_address", F_MAP, F_USED, 0, no_fields, NULL },
    { "destination_cluster", F_MAP, F_USED, 0, no_fields, NULL },
    { "header_value_match", F_MAP, F_USED, 0, header_value_match, NULL },
    { "source_cluster", F_ANY, F_LATER, 0, NULL, NO_ACTION },
    { "masked_remote_address", F_ANY, F_LATER, 0, NULL, NO_ACTION },
    { "query_parameters", F_ANY, F_LATER, 0, NULL, NO_ACTION },
    { "query_parameter_value_match", F_ANY, F_LATER, 0, NULL, NO_ACTION },
    { "dynamic_metadata", F_ANY, F_LATER, 0, NULL, NO_ACTION },
    { "metadata", F_ANY, F_LATER, 0, NULL, NO_ACTION },
    { "extension", F_ANY, F_LATER, 0, NULL, NO_ACTION },
    { NULL, 0, 0, 0, NULL, NULL }
};

#define ONE_STAGE  "there is one stage here, 0"

static const field_t  rate_limit[] = {
    { "actions", F_MAPS, F_USED, F_MUST, rate_limit_action, NULL },
    { "stage", F_WORD, F_USED, 0, NULL, "0" },
    { "disable_key", F_STR, F_NONE, 0, NULL, "Envoy ignores it as well" },
    { "limit", F_ANY, F_LATER, 0, NULL, NULL },
    { "hits_addend", F_ANY, F_LATER, 0, NULL, NULL },
    { "apply_on_stream_done", F_ANY, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

const field_t  schema_rate_limits[] = {
    { "rate_limits", F_MAPS, F_USED, F_FILLED, rate_limit, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

const field_t  schema_local_rate_limit[] = {
    { "@type", F_STR, F_USED, 0, NULL, NULL },
    { "stat_prefix", F_STR, F_IDLE, 0, NULL, IDLE },
    { "status", F_MAP, F_USED, 0, http_status, NULL },
    { "token_bucket", F_MAP, F_USED, 0, token_bucket, NULL },
    { "filter_enabled", F_MAP, F_USED, 0, runtime_fraction, NULL },
    { "filter_enforced", F_MAP, F_USED, 0, runtime_fraction, NULL },
    { "response_headers_to_add", F_MAPS, F_USED, 0, header_option, NULL },
    { "request_headers_to_add_when_not_enforced", F_MAPS, F_USED, 0,
      header_option, NULL },
    { "descriptors", F_MAPS, F_USED, 0, local_descriptor, NULL },
    { "stage", F_WORD, F_USED, 0, NULL, "0" },
    { "local_rate_limit_per_downstream_connection", F_ANY, F_LATER, 0, NULL,
      "a bucket is for all connections" },
    { "local_cluster_rate_limit", F_ANY, F_LATER, 0, NULL,
      "gateways do not know each other" },
    { "enable_x_ratelimit_headers", F_WORD, F_USED, 0, NULL,
      "OFF|DRAFT_VERSION_03" },
    { "vh_rate_limits", F_WORD, F_USED, 0, NULL, "OVERRIDE" },
    { "always_consume_default_token_bucket", F_BOOL, F_USED, 0, NULL, NULL },
    { "rate_limited_as_resource_exhausted", F_ANY, F_LATER, 0, NULL,
      "a gRPC client takes 429 for UNAVAILABLE, as without it" },
    { "rate_limits", F_MAPS, F_USED, F_FILLED, rate_limit, NULL },
    { "runtime_enabled", F_ANY, F_LATER, 0, NULL, "the limit is on" },
    { "share_key", F_STR, F_LATER, 0, NULL,
      "each listener has a bucket of its own" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  sidecar_port[] = {
    { "number", F_INT, F_NONE, 0, NULL, NULL },
    { "name", F_STR, F_NONE, 0, NULL, NULL },
    { "protocol", F_STR, F_NONE, 0, NULL, NULL },
    { "targetPort", F_INT, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  sidecar_egress[] = {
    { "hosts", F_STRS, F_NONE, F_MUST, NULL, NULL },
    { "port", F_MAP, F_NONE, 0, sidecar_port, NULL },
    { "bind", F_STR, F_NONE, 0, NULL, NULL },
    { "captureMode", F_WORD, F_NONE, 0, NULL, "DEFAULT|IPTABLES|NONE" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  sidecar_ingress[] = {
    { "port", F_MAP, F_NONE, 0, sidecar_port, NULL },
    { "bind", F_STR, F_NONE, 0, NULL, NULL },
    { "captureMode", F_WORD, F_NONE, 0, NULL, "DEFAULT|IPTABLES|NONE" },
    { "defaultEndpoint", F_STR, F_NONE, 0, NULL, NULL },
    { "connectionPool", F_MAP, F_NONE, 0, connection_pool, NULL },
    { "tls", F_MAP, F_NONE, 0, gateway_tls, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  sidecar_outbound[] = {
    { "mode", F_WORD, F_NONE, 0, NULL, "REGISTRY_ONLY|ALLOW_ANY" },
    { "egressProxy", F_MAP, F_NONE, 0, destination, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

#define NO_SIDECAR  "Istio gives a gateway no Sidecar: " MESH_SIDE

static const field_t  sidecar[] = {
    { "workloadSelector", F_MAP, F_USED, 0, workload_selector, NULL },
    { "egress", F_MAPS, F_NONE, 0, sidecar_egress, NO_SIDECAR },
    { "ingress", F_MAPS, F_NONE, 0, sidecar_ingress, NO_SIDECAR },
    { "outboundTrafficPolicy", F_MAP, F_NONE, 0, sidecar_outbound,
      NO_SIDECAR ", MeshConfig's counts here" },
    { "inboundConnectionPool", F_MAP, F_NONE, 0, connection_pool,
      NO_SIDECAR },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  peer_mtls[] = {
    { "mode", F_WORD, F_USED, 0, NULL, "UNSET|DISABLE|PERMISSIVE|STRICT" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  peer_authentication[] = {
    { "selector", F_MAP, F_USED, 0, label_selector, NULL },
    { "mtls", F_MAP, F_NONE, 0, peer_mtls,
      "tls.mode of a Gateway's server says what its listener asks for" },
    { "portLevelMtls", F_MAPMAP, F_NONE, 0, peer_mtls,
      "its ports are those of workloads" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  proxy_image[] = {
    { "imageType", F_STR, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  proxy_config[] = {
    { "selector", F_MAP, F_USED, 0, label_selector, NULL },
    { "concurrency", F_INT, F_USED, 0, NULL, NULL },
    { "environmentVariables", F_LABELS, F_NONE, 0, NULL, BY_ENVOY },
    { "image", F_MAP, F_NONE, 0, proxy_image, BY_ENVOY },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  telemetry_provider[] = {
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  telemetry_match[] = {
    { "mode", F_WORD, F_USED, 0, NULL, "CLIENT_AND_SERVER|CLIENT|SERVER" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  telemetry_filter[] = {
    { "expression", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  telemetry_logging[] = {
    { "providers", F_MAPS, F_USED, 0, telemetry_provider, NULL },
    { "disabled", F_BOOL, F_USED, 0, NULL, NULL },
    { "match", F_MAP, F_USED, 0, telemetry_match, NULL },
    { "filter", F_MAP, F_USED, 0, telemetry_filter, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  metric_match[] = {
    { "metric", F_STR, F_NONE, 0, NULL, NULL },
    { "customMetric", F_STR, F_NONE, 0, NULL, NULL },
    { "mode", F_STR, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  metric_tag[] = {
    { "operation", F_WORD, F_NONE, 0, NULL, "UPSERT|REMOVE" },
    { "value", F_STR0, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  metric_override[] = {
    { "match", F_MAP, F_NONE, 0, metric_match, NULL },
    { "disabled", F_BOOL, F_NONE, 0, NULL, NULL },
    { "tagOverrides", F_MAPMAP, F_NONE, 0, metric_tag, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  telemetry_metrics[] = {
    { "providers", F_MAPS, F_NONE, 0, telemetry_provider, NULL },
    { "overrides", F_MAPS, F_NONE, 0, metric_override, NULL },
    { "reportingInterval", F_STR, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tag_literal[] = {
    { "value", F_STR, F_NONE, F_MUST, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tag_named[] = {
    { "name", F_STR, F_NONE, F_MUST, NULL, NULL },
    { "defaultValue", F_STR0, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tracing_tag[] = {
    { "literal", F_MAP, F_NONE, 0, tag_literal, NULL },
    { "environment", F_MAP, F_NONE, 0, tag_named, NULL },
    { "header", F_MAP, F_NONE, 0, tag_named, NULL },
    { "formatter", F_MAP, F_NONE, 0, tag_literal, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  telemetry_tracing[] = {
    { "providers", F_MAPS, F_NONE, 0, telemetry_provider, NULL },
    { "match", F_MAP, F_NONE, 0, telemetry_match, NULL },
    { "customTags", F_MAPMAP, F_NONE, 0, tracing_tag, NULL },
    { "randomSamplingPercentage", F_NUM, F_NONE, 0, NULL, NULL },
    { "disableSpanReporting", F_BOOL, F_NONE, 0, NULL, NULL },
    { "disableContextPropagation", F_BOOL, F_NONE, 0, NULL, NULL },
    { "enableIstioTags", F_BOOL, F_NONE, 0, NULL, NULL },
    { "useRequestIdForTraceSampling", F_BOOL, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  telemetry[] = {
    { "selector", F_MAP, F_USED, 0, label_selector, NULL },
    { "accessLogging", F_MAPS, F_USED, 0, telemetry_logging, NULL },
    { "metrics", F_MAPS, F_NONE, 0, telemetry_metrics,
      "labels of metrics are fixed here, and name the external host" },
    { "tracing", F_MAPS, F_NONE, 0, telemetry_tracing,
      "no spans are made here" },
    { "targetRef", F_MAP, F_LATER, 0, target_ref,
      "it is for gateways of the Gateway API: write a selector" },
    { "targetRefs", F_MAPS, F_LATER, 0, target_ref,
      "it is for gateways of the Gateway API: write a selector" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  outbound_policy[] = {
    { "mode", F_WORD, F_USED, 0, NULL, "REGISTRY_ONLY|ALLOW_ANY" },
    { "tls", F_ANY, F_LATER, 0, NULL,
      "what is not registered is passed on as it is" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_topology[] = {
    { "numTrustedProxies", F_INT, F_LATER, 0, NULL,
      "clients are taken by their own address: see set_real_ip_from" },
    { "forwardClientCertDetails", F_STR, F_NONE, 0, NULL,
      "nothing of the mesh leaves it" },
    { "proxyProtocol", F_ANY, F_LATER, 0, NULL,
      "whoever reaches the gateway could claim any address" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  mesh_proxy[] = {
    { "concurrency", F_INT, F_USED, 0, NULL, NULL },
    { "drainDuration", F_TIME, F_USED, 0, NULL, NULL },
    { "terminationDrainDuration", F_TIME, F_NONE, 0, NULL,
      "who stops the gateway says how long it waits" },
    { "gatewayTopology", F_MAP, F_USED, 0, gateway_topology, NULL },
    { "caCertificatesPem", F_STRS, F_LATER, 0, NULL,
      "give all of them with --mesh-ca" },
    { "tracing", F_ANY, F_NONE, 0, NULL, "no spans are made here" },
    { "proxyHeaders", F_ANY, F_NONE, 0, NULL,
      "none of those headers is sent" },
    { "proxyMetadata", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "runtimeValues", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "extraStatTags", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "proxyStatsMatcher", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "holdApplicationUntilProxyStarts", F_BOOL, F_NONE, 0, NULL, MESH_SIDE },
    { "image", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "configPath", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "binaryPath", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "serviceCluster", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "tracingServiceName", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "discoveryAddress", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "statsdUdpAddress", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "envoyMetricsService", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "envoyAccessLogService", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "proxyAdminPort", F_INT, F_NONE, 0, NULL, BY_ENVOY },
    { "statusPort", F_INT, F_NONE, 0, NULL, BY_ENVOY },
    { "controlPlaneAuthPolicy", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "customConfigFile", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "proxyBootstrapTemplatePath", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "statNameLength", F_INT, F_NONE, 0, NULL, BY_ENVOY },
    { "interceptionMode", F_STR, F_NONE, 0, NULL, MESH_SIDE },
    { "meshId", F_STR, F_IDLE, 0, NULL, IDLE },
    { "readinessProbe", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "privateKeyProvider", F_ANY, F_NONE, 0, NULL, BY_ENVOY },
    { "fileFlushInterval", F_TIME, F_NONE, 0, NULL,
      "lines are written at once" },
    { "fileFlushMinSizeKb", F_INT, F_NONE, 0, NULL,
      "lines are written at once" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  file_log_format[] = {
    { "text", F_STR, F_USED, 0, NULL, NULL },
    { "labels", F_ANY, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  file_access_log[] = {
    { "path", F_STR, F_USED, F_MUST, NULL, NULL },
    { "logFormat", F_MAP, F_USED, 0, file_log_format, NULL },
    { "omitEmptyValues", F_BOOL, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

#define NO_PROVIDER  "it is not asked for by what is rendered"

static const field_t  extension_provider[] = {
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "envoyFileAccessLog", F_MAP, F_USED, 0, file_access_log, NULL },
    { "envoyExtAuthzHttp", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "envoyExtAuthzGrpc", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "envoyHttpAls", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "envoyTcpAls", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "envoyOtelAls", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "zipkin", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "datadog", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "stackdriver", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "skywalking", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "opentelemetry", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "prometheus", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "lightstep", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { "sds", F_ANY, F_NONE, 0, NULL, NO_PROVIDER },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  default_providers[] = {
    { "accessLogging", F_STRS, F_USED, 0, NULL, NULL },
    { "metrics", F_STRS, F_NONE, 0, NULL, "egress_metrics has them all" },
    { "tracing", F_STRS, F_NONE, 0, NULL, "no spans are made here" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  mesh_traffic_policy[] = {
    { "connectionPool", F_MAP, F_USED, 0, connection_pool, NULL },
    { "outlierDetection", F_MAP, F_USED, 0, outlier_detection, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tls_defaults[] = {
    { "minProtocolVersion", F_WORD, F_USED, 0, NULL,
      "TLS_AUTO|TLSV1_2|TLSV1_3" },
    { "cipherSuites", F_STRS, F_USED, 0, NULL, NULL },
    { "ecdhCurves", F_STRS, F_LATER, 0, NULL, "OpenSSL's are used" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  path_normalization[] = {
    { "normalization", F_WORD, F_USED, 0, NULL,
      "DEFAULT|NONE|BASE|MERGE_SLASHES|DECODE_AND_MERGE_SLASHES" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  mesh_config[] = {
    { "outboundTrafficPolicy", F_MAP, F_USED, 0, outbound_policy, NULL },
    { "accessLogFile", F_STR0, F_USED, 0, NULL, NULL },
    { "accessLogFormat", F_STR0, F_USED, 0, NULL, NULL },
    { "accessLogEncoding", F_WORD, F_USED, 0, NULL, "TEXT|JSON" },
    { "trustDomain", F_STR, F_USED, 0, NULL, NULL },
    { "trustDomainAliases", F_STRS, F_USED, 0, NULL, NULL },
    { "rootNamespace", F_STR, F_LATER, 0, NULL, "say it with "
      "--root-namespace" },
    { "pathNormalization", F_MAP, F_USED, 0, path_normalization, NULL },
    { "caCertificates", F_ANY, F_LATER, 0, NULL, "give all of them with "
      "--mesh-ca" },
    { "connectTimeout", F_TIME, F_USED, 0, NULL, NULL },
    { "tcpKeepalive", F_MAP, F_USED, 0, tcp_keepalive, NULL },
    { "h2UpgradePolicy", F_WORD, F_USED, 0, NULL, "DO_NOT_UPGRADE|UPGRADE" },
    { "defaultServiceExportTo", F_STRS, F_USED, 0, NULL, NULL },
    { "defaultVirtualServiceExportTo", F_STRS, F_USED, 0, NULL, NULL },
    { "defaultDestinationRuleExportTo", F_STRS, F_USED, 0, NULL, NULL },
    { "defaultHttpRetryPolicy", F_MAP, F_USED, 0, http_retries, NULL },
    { "defaultTrafficPolicy", F_MAP, F_USED, 0, mesh_traffic_policy, NULL },
    { "discoverySelectors", F_ANY, F_LATER, 0, NULL, "leave out of the input "
      "what Istio shall not see" },
    { "serviceEntryVisibility", F_ANY, F_LATER, 0, NULL, "write exportTo" },
    { "tlsDefaults", F_MAP, F_USED, 0, tls_defaults, NULL },
    { "meshMTLS", F_MAP, F_USED, 0, tls_defaults, NULL },
    { "localityLbSetting", F_MAP, F_LATER, 0, locality_setting,
      "write it into a DestinationRule" },
    { "zoneAwareLbSetting", F_ANY, F_NONE, 0, NULL,
      "services are outside of the mesh's zones" },
    { "dnsRefreshRate", F_STR, F_NONE, 0, NULL,
      "a name is asked for again when its TTL is over" },
    { "disableEnvoyListenerLog", F_BOOL, F_NONE, 0, NULL,
      "a connection has one line in one log" },
    { "enableEnvoyAccessLogService", F_BOOL, F_LATER, 0, NULL,
      "logs are written to files" },
    { "enablePrometheusMerge", F_BOOL, F_NONE, 0, NULL, MESH_SIDE },
    { "inboundClusterStatName", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "outboundClusterStatName", F_STR, F_NONE, 0, NULL, BY_ENVOY },
    { "inboundTrafficPolicy", F_ANY, F_NONE, 0, NULL, MESH_SIDE },
    { "protocolDetectionTimeout", F_STR, F_NONE, 0, NULL, MESH_SIDE },
    { "hboneIdleTimeout", F_STR, F_NONE, 0, NULL, MESH_SIDE },
    { "serviceSettings", F_ANY, F_NONE, 0, NULL, "it is about clusters" },
    { "serviceScopeConfigs", F_ANY, F_NONE, 0, NULL, "it is about clusters" },
    { "ca", F_ANY, F_NONE, 0, NULL, "see --mesh-certificate" },
    { "certificates", F_ANY, F_NONE, 0, NULL, "Istio's own parts use them" },
    { "configSources", F_ANY, F_NONE, 0, NULL, "the input is the source" },
    { "ingressClass", F_STR, F_NONE, 0, NULL, "no Ingress is read" },
    { "ingressService", F_STR, F_NONE, 0, NULL, "no Ingress is read" },
    { "ingressControllerMode", F_STR, F_NONE, 0, NULL, "no Ingress is read" },
    { "ingressSelector", F_STR, F_NONE, 0, NULL, "no Ingress is read" },
    { "proxyListenPort", F_INT, F_NONE, 0, NULL, MESH_SIDE },
    { "proxyInboundListenPort", F_INT, F_NONE, 0, NULL, MESH_SIDE },
    { "proxyHttpPort", F_INT, F_NONE, 0, NULL, MESH_SIDE },
    { "enableTracing", F_BOOL, F_NONE, 0, NULL, "no spans are made here" },
    { "enableAutoMtls", F_BOOL, F_USED, 0, NULL, NULL },
    { "defaultConfig", F_MAP, F_USED, 0, mesh_proxy, NULL },
    { "extensionProviders", F_MAPS, F_USED, 0, extension_provider, NULL },
    { "defaultProviders", F_MAP, F_USED, 0, default_providers, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

#define INSTALLS  "it says how Istio is installed"

static const field_t  istio_operator[] = {
    { "meshConfig", F_MAP, F_USED, 0, mesh_config, NULL },
    { "profile", F_STR, F_NONE, 0, NULL, INSTALLS },
    { "components", F_ANY, F_NONE, 0, NULL, INSTALLS },
    { "values", F_ANY, F_NONE, 0, NULL, INSTALLS },
    { "unvalidatedValues", F_ANY, F_NONE, 0, NULL, INSTALLS },
    { "installPackagePath", F_STR, F_NONE, 0, NULL, INSTALLS },
    { "compatibilityVersion", F_STR, F_NONE, 0, NULL, INSTALLS },
    { "hub", F_STR, F_NONE, 0, NULL, INSTALLS },
    { "tag", F_ANY, F_NONE, 0, NULL, INSTALLS },
    { "revision", F_STR, F_NONE, 0, NULL, INSTALLS },
    { "namespace", F_STR, F_NONE, 0, NULL, INSTALLS },
    { NULL, 0, 0, 0, NULL, NULL }
};

/* of Kubernetes' own kinds, what is read */

static const field_t  config_map[] = {
    { "mesh", F_STR, F_USED, 0, NULL, NULL },
    { "meshNetworks", F_ANY, F_NONE, 0, NULL, "it is about other networks" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  secret[] = {
    { "type", F_STR, F_USED, 0, NULL, NULL },
    { "data", F_LABELS, F_USED, 0, NULL, NULL },
    { "stringData", F_LABELS, F_USED, 0, NULL, NULL },
    { "immutable", F_BOOL, F_IDLE, 0, NULL, IDLE },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  kube_port[] = {
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "port", F_PORT, F_USED, 0, NULL, NULL },
    { "appProtocol", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  kube_service[] = {
    { "ports", F_MAPS, F_USED, 0, kube_port, NULL },
    { "type", F_STR, F_USED, 0, NULL, NULL },
    { "externalName", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  kube_address[] = {
    { "ip", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  kube_subset[] = {
    { "addresses", F_MAPS, F_USED, 0, kube_address, NULL },
    { "ports", F_MAPS, F_USED, 0, kube_port, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  kube_endpoints[] = {
    { "subsets", F_MAPS, F_USED, 0, kube_subset, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  slice_conditions[] = {
    { "ready", F_BOOL, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  slice_endpoint[] = {
    { "addresses", F_STRS, F_USED, 0, NULL, NULL },
    { "conditions", F_MAP, F_USED, 0, slice_conditions, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  kube_slice[] = {
    { "endpoints", F_MAPS, F_USED, 0, slice_endpoint, NULL },
    { "ports", F_MAPS, F_USED, 0, kube_port, NULL },
    { "addressType", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};


#define NETWORKING  "networking.istio.io"
#define SECURITY    "security.istio.io"

const kind_t  schema_kinds[] = {
    { "ServiceEntry", NETWORKING, "spec", service_entry, 0, NULL },
    { "WorkloadEntry", NETWORKING, "spec", endpoint, 0, NULL },
    { "Gateway", NETWORKING, "spec", gateway, 0, NULL },
    { "VirtualService", NETWORKING, "spec", virtual_service, 0, NULL },
    { "DestinationRule", NETWORKING, "spec", destination_rule, 0, NULL },
    { "EnvoyFilter", NETWORKING, "spec", envoy_filter, 0, NULL },
    { "Sidecar", NETWORKING, "spec", sidecar, 1, NULL },
    { "ProxyConfig", NETWORKING, "spec", proxy_config, 1, NULL },
    { "AuthorizationPolicy", SECURITY, "spec", authorization_policy, 1,
      NULL },
    { "PeerAuthentication", SECURITY, "spec", peer_authentication, 1, NULL },
    { "Telemetry", "telemetry.istio.io", "spec", telemetry, 1, NULL },
    { "IstioOperator", "install.istio.io", "spec", istio_operator, 1, NULL },
    { "ConfigMap", "", "data", config_map, 1, NULL },
    { "Secret", "", NULL, secret, 1, NULL },
    { "Service", "", "spec", kube_service, 1, NULL },
    { "Endpoints", "", NULL, kube_endpoints, 1, NULL },
    { "EndpointSlice", "discovery.k8s.io", NULL, kube_slice, 1, NULL },

    /* no rows: refused where they select the gateway, else skipped */

    { "RequestAuthentication", SECURITY, "spec", NULL, 1,
      "may demand a token from clients" },
    { "WasmPlugin", "extensions.istio.io", "spec", NULL, 1,
      "may refuse requests" },
    { "TrafficExtension", "extensions.istio.io", "spec", NULL, 1,
      "may refuse requests" },
    { NULL, NULL, NULL, NULL, 0, NULL }
};


const field_t  schema_metadata[] = {
    { "name", F_STR, F_USED, F_MUST, NULL, NULL },
    { "namespace", F_STR, F_USED, 0, NULL, NULL },
    { "labels", F_ANY, F_USED, 0, NULL, NULL },
    { "annotations", F_ANY, F_USED, 0, NULL, NULL },
    { "generateName", F_STR, F_USED, 0, NULL, NULL },
    { "uid", F_ANY, F_USED, 0, NULL, NULL },
    { "resourceVersion", F_ANY, F_USED, 0, NULL, NULL },
    { "generation", F_ANY, F_USED, 0, NULL, NULL },
    { "creationTimestamp", F_ANY, F_USED, 0, NULL, NULL },
    { "managedFields", F_ANY, F_USED, 0, NULL, NULL },
    { "finalizers", F_ANY, F_USED, 0, NULL, NULL },
    { "ownerReferences", F_ANY, F_USED, 0, NULL, NULL },
    { "selfLink", F_ANY, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

const field_t  schema_document[] = {
    { "apiVersion", F_STR, F_USED, F_MUST, NULL, NULL },
    { "kind", F_STR, F_USED, F_MUST, NULL, NULL },
    { "metadata", F_MAP, F_USED, F_MUST, schema_metadata, NULL },
    { "spec", F_ANY, F_USED, 0, NULL, NULL },
    { "status", F_ANY, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};
