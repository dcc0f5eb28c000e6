
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"


/* what may stand there */

#define F_STR      1
#define F_INT      2
#define F_BOOL     3
#define F_TIME     4                     /* "10s", "1h2m", "100ms" */
#define F_MAP      5
#define F_STRS     6                     /* a list of strings */
#define F_MAPS     7                     /* a list of mappings */
#define F_LABELS   8                     /* a mapping of strings */
#define F_ANY      9
#define F_WORD     10                    /* one of "words" */
#define F_PORTS    11                    /* a mapping of port numbers */
#define F_PORT     12

/* what becomes of it */

#define F_USED     0                     /* rendered */
#define F_NONE     1                     /* no effect at an egress gateway */
#define F_LATER    2                     /* refused where it would count */
#define F_NEVER    3                     /* the same, for good */
#define F_WARN     4                     /* not rendered, narrows nothing */

/* must it be there */

#define F_MUST     1
#define F_FILLED   2                     /* if it is, it is not empty */


typedef struct field_s  field_t;

struct field_s {
    const char      *name;
    int              type;
    int              use;
    int              required;
    const field_t   *fields;

    /* what F_WORD allows, separated by "|"; else the way out of a refusal */

    const char      *words;
};


typedef struct {
    const char      *kind;
    const char      *group;
    const field_t   *spec;
    const char      *refusal;            /* a kind that can't be left out */
} kind_t;


static int schema_fields(node_t *map, const field_t *fields,
    const char *where);
static int schema_field(node_t *node, const field_t *f, const char *where);
static int schema_type(node_t *node, const field_t *f);
static int schema_wrong(node_t *node, const char *expected);
static int schema_list(node_t *node, const field_t *f);
static int schema_scalar(node_t *node, const field_t *f);
static int schema_time(const char *s);
static int schema_word(node_t *node, const char *words);
static void schema_unknown(node_t *key, const field_t *fields,
    const char *where);
static size_t schema_distance(const char *a, const char *b);
static int schema_names(node_t *meta);
static int schema_header(node_t *doc, const kind_t **kind);
static int schema_other(node_t *doc);
static int schema_number(node_t *node, long min, long max);


static const field_t  label_selector[] = {
    { "matchLabels", F_LABELS, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  workload_selector[] = {
    { "labels", F_LABELS, F_USED, 0, NULL, NULL },
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
    { "address", F_STR, F_USED, F_MUST, NULL, NULL },
    { "ports", F_PORTS, F_USED, 0, NULL, NULL },
    { "labels", F_LABELS, F_USED, 0, NULL, NULL },
    { "weight", F_INT, F_LATER, 0, NULL, NULL },
    { "locality", F_STR, F_LATER, 0, NULL, NULL },
    { "network", F_STR, F_LATER, 0, NULL, NULL },
    { "serviceAccount", F_STR, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  service_entry[] = {
    { "hosts", F_STRS, F_USED, F_MUST, NULL, NULL },
    { "ports", F_MAPS, F_USED, F_MUST, service_port, NULL },
    { "location", F_WORD, F_USED, 0, NULL, "MESH_EXTERNAL|MESH_INTERNAL" },
    { "resolution", F_WORD, F_USED, 0, NULL,
      "NONE|STATIC|DNS|DNS_ROUND_ROBIN|DYNAMIC_DNS" },
    { "endpoints", F_MAPS, F_USED, 0, endpoint, NULL },
    { "exportTo", F_STRS, F_USED, 0, NULL, NULL },
    { "addresses", F_STRS, F_NONE, 0, NULL, NULL },
    { "subjectAltNames", F_STRS, F_USED, 0, NULL, NULL },
    { "workloadSelector", F_ANY, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_port[] = {
    { "number", F_PORT, F_USED, F_MUST, NULL, NULL },
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "protocol", F_WORD, F_USED, F_MUST, NULL,
      "HTTP|HTTPS|GRPC|GRPC-WEB|HTTP2|MONGO|TCP|TLS" },
    { "targetPort", F_PORT, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_tls[] = {
    { "mode", F_WORD, F_USED, 0, NULL,
      "PASSTHROUGH|SIMPLE|MUTUAL|AUTO_PASSTHROUGH|ISTIO_MUTUAL"
      "|OPTIONAL_MUTUAL" },
    { "httpsRedirect", F_BOOL, F_LATER, 0, NULL, NULL },
    { "credentialName", F_STR, F_LATER, 0, NULL, NULL },
    { "credentialNames", F_STRS, F_LATER, 0, NULL, NULL },
    { "serverCertificate", F_STR, F_LATER, 0, NULL, NULL },
    { "privateKey", F_STR, F_LATER, 0, NULL, NULL },
    { "caCertificates", F_STR, F_LATER, 0, NULL, NULL },
    { "caCrl", F_STR, F_LATER, 0, NULL, NULL },
    { "subjectAltNames", F_STRS, F_LATER, 0, NULL, NULL },
    { "minProtocolVersion", F_STR, F_LATER, 0, NULL, NULL },
    { "maxProtocolVersion", F_STR, F_LATER, 0, NULL, NULL },
    { "cipherSuites", F_STRS, F_LATER, 0, NULL, NULL },
    { "tlsCertificates", F_ANY, F_LATER, 0, NULL, NULL },
    { "caCertCredentialName", F_STR, F_LATER, 0, NULL, NULL },
    { "insecureSkipVerify", F_BOOL, F_LATER, 0, NULL, NULL },
    { "ecdhCurves", F_STRS, F_LATER, 0, NULL, NULL },
    { "verifyCertificateSpki", F_STRS, F_LATER, 0, NULL, NULL },
    { "verifyCertificateHash", F_STRS, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  gateway_server[] = {
    { "port", F_MAP, F_USED, F_MUST, gateway_port, NULL },
    { "hosts", F_STRS, F_USED, F_MUST, NULL, NULL },
    { "tls", F_MAP, F_USED, 0, gateway_tls, NULL },
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "bind", F_STR, F_LATER, 0, NULL, NULL },
    { "defaultEndpoint", F_STR, F_NONE, 0, NULL, NULL },
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
    { "subset", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  route_destination[] = {
    { "destination", F_MAP, F_USED, F_MUST, destination, NULL },
    { "weight", F_INT, F_USED, 0, NULL, NULL },
    { "headers", F_ANY, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tls_match[] = {
    { "sniHosts", F_STRS, F_USED, F_MUST, NULL, NULL },
    { "port", F_PORT, F_USED, 0, NULL, NULL },
    { "gateways", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "destinationSubnets", F_STRS, F_LATER, 0, NULL, NULL },
    { "sourceLabels", F_LABELS, F_LATER, 0, NULL, NULL },
    { "sourceNamespace", F_STR, F_LATER, 0, NULL, NULL },
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
    { "destinationSubnets", F_STRS, F_LATER, 0, NULL, NULL },
    { "sourceLabels", F_LABELS, F_LATER, 0, NULL, NULL },
    { "sourceNamespace", F_STR, F_LATER, 0, NULL, NULL },
    { "sourceSubnet", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  tcp_route[] = {
    { "match", F_MAPS, F_USED, 0, tcp_match, NULL },
    { "route", F_MAPS, F_USED, F_MUST, route_destination, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_match[] = {
    { "port", F_PORT, F_USED, 0, NULL, NULL },
    { "gateways", F_STRS, F_USED, F_FILLED, NULL, NULL },
    { "name", F_STR, F_NONE, 0, NULL, NULL },
    { "uri", F_ANY, F_LATER, 0, NULL, NULL },
    { "scheme", F_ANY, F_LATER, 0, NULL, NULL },
    { "method", F_ANY, F_LATER, 0, NULL, NULL },
    { "authority", F_ANY, F_LATER, 0, NULL, NULL },
    { "headers", F_ANY, F_LATER, 0, NULL, NULL },
    { "withoutHeaders", F_ANY, F_LATER, 0, NULL, NULL },
    { "queryParams", F_ANY, F_LATER, 0, NULL, NULL },
    { "ignoreUriCase", F_BOOL, F_LATER, 0, NULL, NULL },
    { "sourceLabels", F_LABELS, F_LATER, 0, NULL, NULL },
    { "sourceNamespace", F_STR, F_LATER, 0, NULL, NULL },
    { "statPrefix", F_STR, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  http_route[] = {
    { "name", F_STR, F_USED, 0, NULL, NULL },
    { "match", F_MAPS, F_USED, 0, http_match, NULL },
    { "route", F_MAPS, F_USED, 0, route_destination, NULL },
    { "redirect", F_ANY, F_LATER, 0, NULL, NULL },
    { "directResponse", F_ANY, F_LATER, 0, NULL, NULL },
    { "delegate", F_ANY, F_LATER, 0, NULL, NULL },
    { "rewrite", F_ANY, F_LATER, 0, NULL, NULL },
    { "timeout", F_ANY, F_LATER, 0, NULL, NULL },
    { "retries", F_ANY, F_LATER, 0, NULL, NULL },
    { "fault", F_ANY, F_LATER, 0, NULL, NULL },
    { "mirror", F_ANY, F_LATER, 0, NULL, NULL },
    { "mirrors", F_ANY, F_LATER, 0, NULL, NULL },
    { "mirrorPercentage", F_ANY, F_LATER, 0, NULL, NULL },
    { "mirrorPercent", F_ANY, F_LATER, 0, NULL, NULL },
    { "mirror_percent", F_ANY, F_LATER, 0, NULL, NULL },
    { "corsPolicy", F_ANY, F_LATER, 0, NULL, NULL },
    { "headers", F_ANY, F_LATER, 0, NULL, NULL },
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
    { "credentialName", F_STR, F_LATER, 0, NULL,
      "write \"clientCertificate\", \"privateKey\" and \"caCertificates\" "
      "with the files of the Secret" },
    { "subjectAltNames", F_STRS, F_USED, 0, NULL, NULL },
    { "sni", F_STR, F_USED, 0, NULL, NULL },
    { "insecureSkipVerify", F_BOOL, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  pool_tcp[] = {
    { "connectTimeout", F_STR, F_USED, 0, NULL, NULL },
    { "maxConnections", F_INT, F_USED, 0, NULL, NULL },
    { "tcpKeepalive", F_ANY, F_USED, 0, NULL, NULL },
    { "maxConnectionDuration", F_STR, F_USED, 0, NULL, NULL },
    { "idleTimeout", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  pool_http[] = {
    { "http1MaxPendingRequests", F_INT, F_USED, 0, NULL, NULL },
    { "http2MaxRequests", F_INT, F_USED, 0, NULL, NULL },
    { "maxRequestsPerConnection", F_INT, F_USED, 0, NULL, NULL },
    { "maxRetries", F_INT, F_USED, 0, NULL, NULL },
    { "idleTimeout", F_STR, F_USED, 0, NULL, NULL },
    { "h2UpgradePolicy", F_WORD, F_USED, 0, NULL,
      "DEFAULT|DO_NOT_UPGRADE|UPGRADE" },
    { "useClientProtocol", F_BOOL, F_USED, 0, NULL, NULL },
    { "maxConcurrentStreams", F_INT, F_USED, 0, NULL, NULL },
    { "http2KeepAlive", F_ANY, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  connection_pool[] = {
    { "tcp", F_MAP, F_USED, 0, pool_tcp, NULL },
    { "http", F_MAP, F_USED, 0, pool_http, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  load_balancer[] = {
    { "simple", F_WORD, F_USED, 0, NULL,
      "UNSPECIFIED|LEAST_CONN|RANDOM|PASSTHROUGH|ROUND_ROBIN"
      "|LEAST_REQUEST" },
    { "consistentHash", F_ANY, F_USED, 0, NULL, NULL },
    { "localityLbSetting", F_ANY, F_USED, 0, NULL, NULL },
    { "zoneAwareLbSetting", F_ANY, F_USED, 0, NULL, NULL },
    { "backendUtilization", F_ANY, F_USED, 0, NULL, NULL },
    { "warmup", F_ANY, F_USED, 0, NULL, NULL },
    { "warmupDurationSecs", F_STR, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  outlier_detection[] = {
    { "consecutive5xxErrors", F_INT, F_USED, 0, NULL, NULL },
    { "consecutiveGatewayErrors", F_INT, F_USED, 0, NULL, NULL },
    { "consecutiveErrors", F_INT, F_USED, 0, NULL, NULL },
    { "consecutiveLocalOriginFailures", F_INT, F_USED, 0, NULL, NULL },
    { "splitExternalLocalOriginErrors", F_BOOL, F_USED, 0, NULL, NULL },
    { "interval", F_STR, F_USED, 0, NULL, NULL },
    { "baseEjectionTime", F_STR, F_USED, 0, NULL, NULL },
    { "maxEjectionPercent", F_INT, F_USED, 0, NULL, NULL },
    { "minHealthPercent", F_INT, F_USED, 0, NULL, NULL },
    { "outlierDetectionHttpErrorCodes", F_ANY, F_USED, 0, NULL, NULL },
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

static const field_t  traffic_policy[] = {
    { "tls", F_MAP, F_USED, 0, client_tls, NULL },
    { "connectionPool", F_MAP, F_USED, 0, connection_pool, NULL },
    { "loadBalancer", F_MAP, F_USED, 0, load_balancer, NULL },
    { "outlierDetection", F_MAP, F_USED, 0, outlier_detection, NULL },
    { "portLevelSettings", F_MAPS, F_USED, 0, port_policy, NULL },
    { "tunnel", F_ANY, F_LATER, 0, NULL, NULL },
    { "proxyProtocol", F_ANY, F_LATER, 0, NULL, NULL },
    { "retryBudget", F_ANY, F_LATER, 0, NULL, NULL },
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
    { "workloadSelector", F_ANY, F_LATER, 0, NULL, NULL },
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

static const field_t  authorization_policy[] = {
    { "selector", F_MAP, F_USED, 0, label_selector, NULL },
    { "action", F_WORD, F_USED, 0, NULL, "ALLOW|DENY|AUDIT|CUSTOM" },
    { "rules", F_MAPS, F_USED, 0, authz_rule, NULL },
    { "targetRef", F_ANY, F_LATER, 0, NULL, NULL },
    { "targetRefs", F_ANY, F_LATER, 0, NULL, NULL },
    { "provider", F_ANY, F_NEVER, 0, NULL, NULL },
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

static const field_t  envoy_match_chain[] = {
    { "filter", F_MAP, F_USED, 0, envoy_match_filter, NULL },
    { "name", F_STR, F_LATER, 0, NULL, NULL },
    { "sni", F_STR, F_LATER, 0, NULL, NULL },
    { "transportProtocol", F_STR, F_LATER, 0, NULL, NULL },
    { "transportSocket", F_STR, F_LATER, 0, NULL, NULL },
    { "applicationProtocols", F_STR, F_LATER, 0, NULL, NULL },
    { "destinationPort", F_INT, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match_listener[] = {
    { "filterChain", F_MAP, F_USED, 0, envoy_match_chain, NULL },
    { "portNumber", F_INT, F_LATER, 0, NULL, NULL },
    { "portName", F_STR, F_LATER, 0, NULL, NULL },
    { "name", F_STR, F_LATER, 0, NULL, NULL },
    { "listenerFilter", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_match[] = {
    { "context", F_WORD, F_USED, 0, NULL,
      "ANY|SIDECAR_INBOUND|SIDECAR_OUTBOUND|GATEWAY|WAYPOINT" },
    { "listener", F_MAP, F_USED, 0, envoy_match_listener, NULL },
    { "proxy", F_ANY, F_LATER, 0, NULL, NULL },
    { "routeConfiguration", F_ANY, F_LATER, 0, NULL, NULL },
    { "cluster", F_ANY, F_LATER, 0, NULL, NULL },
    { "waypoint", F_ANY, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_patch[] = {
    { "operation", F_STR, F_USED, F_MUST, NULL, NULL },
    { "value", F_ANY, F_USED, 0, NULL, NULL },
    { "filterClass", F_STR, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_config_patch[] = {
    { "applyTo", F_STR, F_USED, F_MUST, NULL, NULL },
    { "match", F_MAP, F_USED, 0, envoy_match, NULL },
    { "patch", F_MAP, F_USED, F_MUST, envoy_patch, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  envoy_filter[] = {
    { "workloadSelector", F_MAP, F_USED, 0, workload_selector, NULL },
    { "configPatches", F_MAPS, F_USED, F_MUST, envoy_config_patch, NULL },
    { "priority", F_INT, F_NONE, 0, NULL, NULL },
    { "targetRefs", F_ANY, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  fraction[] = {
    { "numerator", F_INT, F_USED, F_MUST, NULL, NULL },
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

static const field_t  local_rate_limit[] = {
    { "@type", F_STR, F_USED, 0, NULL, NULL },
    { "stat_prefix", F_STR, F_USED, 0, NULL, NULL },
    { "status", F_MAP, F_USED, 0, http_status, NULL },
    { "token_bucket", F_MAP, F_USED, F_MUST, token_bucket, NULL },
    { "filter_enabled", F_MAP, F_USED, 0, runtime_fraction, NULL },
    { "filter_enforced", F_MAP, F_USED, 0, runtime_fraction, NULL },
    { "response_headers_to_add", F_MAPS, F_USED, 0, header_option, NULL },
    { "request_headers_to_add_when_not_enforced", F_ANY, F_LATER, 0, NULL,
      NULL },
    { "descriptors", F_ANY, F_LATER, 0, NULL, NULL },
    { "stage", F_ANY, F_LATER, 0, NULL, NULL },
    { "local_rate_limit_per_downstream_connection", F_ANY, F_LATER, 0, NULL,
      NULL },
    { "local_cluster_rate_limit", F_ANY, F_LATER, 0, NULL, NULL },
    { "enable_x_ratelimit_headers", F_ANY, F_LATER, 0, NULL, NULL },
    { "vh_rate_limits", F_ANY, F_LATER, 0, NULL, NULL },
    { "always_consume_default_token_bucket", F_ANY, F_LATER, 0, NULL, NULL },
    { "rate_limited_as_resource_exhausted", F_ANY, F_LATER, 0, NULL, NULL },
    { "rate_limits", F_ANY, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  outbound_policy[] = {
    { "mode", F_WORD, F_USED, 0, NULL, "REGISTRY_ONLY|ALLOW_ANY" },
    { "tls", F_ANY, F_LATER, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  path_normalization[] = {
    { "normalization", F_WORD, F_USED, 0, NULL,
      "DEFAULT|NONE|BASE|MERGE_SLASHES|DECODE_AND_MERGE_SLASHES" },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  mesh_config[] = {
    { "outboundTrafficPolicy", F_MAP, F_USED, 0, outbound_policy, NULL },
    { "accessLogFile", F_STR, F_WARN, 0, NULL, NULL },
    { "accessLogFormat", F_STR, F_WARN, 0, NULL, NULL },
    { "accessLogEncoding", F_STR, F_WARN, 0, NULL, NULL },
    { "trustDomain", F_STR, F_USED, 0, NULL, NULL },
    { "trustDomainAliases", F_STRS, F_USED, 0, NULL, NULL },
    { "rootNamespace", F_STR, F_LATER, 0, NULL, "say it with "
      "--root-namespace" },
    { "pathNormalization", F_MAP, F_USED, 0, path_normalization, NULL },
    { "caCertificates", F_ANY, F_LATER, 0, NULL, "give all of them with "
      "--mesh-ca" },
    { "connectTimeout", F_STR, F_LATER, 0, NULL, NULL },
    { "tcpKeepalive", F_ANY, F_LATER, 0, NULL, NULL },
    { "h2UpgradePolicy", F_STR, F_LATER, 0, NULL, NULL },
    { "defaultServiceExportTo", F_STRS, F_LATER, 0, NULL, NULL },
    { "defaultVirtualServiceExportTo", F_STRS, F_LATER, 0, NULL, NULL },
    { "defaultDestinationRuleExportTo", F_STRS, F_LATER, 0, NULL, NULL },
    { "defaultHttpRetryPolicy", F_ANY, F_LATER, 0, NULL, NULL },
    { "defaultTrafficPolicy", F_ANY, F_LATER, 0, NULL, NULL },
    { "discoverySelectors", F_ANY, F_LATER, 0, NULL, NULL },
    { "serviceEntryVisibility", F_ANY, F_LATER, 0, NULL, NULL },
    { "tlsDefaults", F_ANY, F_LATER, 0, NULL, NULL },
    { "meshMTLS", F_ANY, F_LATER, 0, NULL, NULL },
    { "localityLbSetting", F_ANY, F_NONE, 0, NULL, NULL },
    { "zoneAwareLbSetting", F_ANY, F_NONE, 0, NULL, NULL },
    { "dnsRefreshRate", F_STR, F_NONE, 0, NULL, NULL },
    { "disableEnvoyListenerLog", F_BOOL, F_NONE, 0, NULL, NULL },
    { "enableEnvoyAccessLogService", F_BOOL, F_NONE, 0, NULL, NULL },
    { "enablePrometheusMerge", F_BOOL, F_NONE, 0, NULL, NULL },
    { "inboundClusterStatName", F_STR, F_NONE, 0, NULL, NULL },
    { "outboundClusterStatName", F_STR, F_NONE, 0, NULL, NULL },
    { "inboundTrafficPolicy", F_ANY, F_NONE, 0, NULL, NULL },
    { "protocolDetectionTimeout", F_STR, F_NONE, 0, NULL, NULL },
    { "hboneIdleTimeout", F_STR, F_NONE, 0, NULL, NULL },
    { "serviceSettings", F_ANY, F_NONE, 0, NULL, NULL },
    { "serviceScopeConfigs", F_ANY, F_NONE, 0, NULL, NULL },
    { "ca", F_ANY, F_NONE, 0, NULL, NULL },
    { "certificates", F_ANY, F_NONE, 0, NULL, NULL },
    { "configSources", F_ANY, F_NONE, 0, NULL, NULL },
    { "ingressClass", F_STR, F_NONE, 0, NULL, NULL },
    { "ingressService", F_STR, F_NONE, 0, NULL, NULL },
    { "ingressControllerMode", F_STR, F_NONE, 0, NULL, NULL },
    { "ingressSelector", F_STR, F_NONE, 0, NULL, NULL },
    { "proxyListenPort", F_INT, F_NONE, 0, NULL, NULL },
    { "proxyInboundListenPort", F_INT, F_NONE, 0, NULL, NULL },
    { "proxyHttpPort", F_INT, F_NONE, 0, NULL, NULL },
    { "enableTracing", F_BOOL, F_NONE, 0, NULL, NULL },
    { "enableAutoMtls", F_BOOL, F_NONE, 0, NULL, NULL },
    { "defaultConfig", F_ANY, F_NONE, 0, NULL, NULL },
    { "extensionProviders", F_ANY, F_NONE, 0, NULL, NULL },
    { "defaultProviders", F_ANY, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};

static const field_t  istio_operator[] = {
    { "meshConfig", F_MAP, F_USED, 0, mesh_config, NULL },
    { "profile", F_STR, F_NONE, 0, NULL, NULL },
    { "components", F_ANY, F_NONE, 0, NULL, NULL },
    { "values", F_ANY, F_NONE, 0, NULL, NULL },
    { "hub", F_STR, F_NONE, 0, NULL, NULL },
    { "tag", F_ANY, F_NONE, 0, NULL, NULL },
    { "revision", F_STR, F_NONE, 0, NULL, NULL },
    { "namespace", F_STR, F_NONE, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};


static const kind_t  kinds[] = {
    { "ServiceEntry", "networking.istio.io", service_entry, NULL },
    { "Gateway", "networking.istio.io", gateway, NULL },
    { "VirtualService", "networking.istio.io", virtual_service, NULL },
    { "DestinationRule", "networking.istio.io", destination_rule, NULL },
    { "EnvoyFilter", "networking.istio.io", envoy_filter, NULL },
    { "AuthorizationPolicy", "security.istio.io", authorization_policy,
      NULL },
    { "IstioOperator", "install.istio.io", istio_operator, NULL },

    { "Sidecar", "networking.istio.io", NULL, "may narrow what is reached" },
    { "WorkloadEntry", "networking.istio.io", NULL,
      "may be where a service is" },
    { "WorkloadGroup", "networking.istio.io", NULL,
      "may be where a service is" },
    { "ProxyConfig", "networking.istio.io", NULL, "configures the gateway" },
    { "WasmPlugin", "extensions.istio.io", NULL, "may refuse requests" },
    { "PeerAuthentication", "security.istio.io", NULL,
      "may demand mTLS from clients" },
    { "RequestAuthentication", "security.istio.io", NULL,
      "may demand a token from clients" },
    { NULL, NULL, NULL, NULL }
};


static const field_t  metadata[] = {
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

static const field_t  document[] = {
    { "apiVersion", F_STR, F_USED, F_MUST, NULL, NULL },
    { "kind", F_STR, F_USED, F_MUST, NULL, NULL },
    { "metadata", F_MAP, F_USED, F_MUST, metadata, NULL },
    { "spec", F_ANY, F_USED, 0, NULL, NULL },
    { "status", F_ANY, F_USED, 0, NULL, NULL },
    { NULL, 0, 0, 0, NULL, NULL }
};


int
schema_check(node_t *doc)
{
    node_t        *spec;
    const char    *name;
    const kind_t  *kind;

    if (schema_header(doc, &kind) != 0) {
        return 0;
    }

    if (schema_fields(doc, document, "the manifest") != 0) {
        return 0;
    }

    if (schema_names(node_get(doc, "metadata")) != 0) {
        return 0;
    }

    name = kind->kind;
    spec = node_get(doc, "spec");

    if (spec == NULL || (spec->kind == NODE_SCALAR && spec->plain
                         && *spec->text == '\0'))
    {
        if (strcmp(name, "AuthorizationPolicy") != 0
            && strcmp(name, "IstioOperator") != 0)
        {
            diag(DIAG_ERROR, &doc->pos, "MISSING",
                 "%s must have \"spec\"", name);
            return 0;
        }

        return 1;
    }

    if (spec->kind != NODE_MAP) {
        schema_wrong(spec, "a mapping");
        return 0;
    }

    return schema_fields(spec, kind->spec, name) == 0;
}


int
schema_rate_limit(node_t *config)
{
    if (config->kind != NODE_MAP) {
        return schema_wrong(config, "a mapping");
    }

    return schema_fields(config, local_rate_limit, "the local rate limit");
}


/*
 * What is not rendered is refused only where it would count: in the rule for
 * a sidecar, or for another workload, it changes nothing here.
 */

int
schema_refused(node_t *node)
{
    int      n;
    node_t  *child;

    n = 0;

    if (node == NULL) {
        return 0;
    }

    if (node->refusal) {
        diag(DIAG_ERROR, &node->key->pos, "UNSUPPORTED", "%s",
             node->refusal);
        node->refusal = NULL;
        n++;
    }

    for (child = node->child; child; child = child->next) {
        n += schema_refused(child);
    }

    return n;
}


/* RFC 1123, as Kubernetes has it */

static int
schema_names(node_t *meta)
{
    size_t       i;
    node_t      *n;

    static const char  *keys[] = { "name", "namespace" };

    for (i = 0; i < 2; i++) {
        n = node_get(meta, keys[i]);

        if (n && (strlen(n->text) > 253
                  || strspn(n->text, "abcdefghijklmnopqrstuvwxyz0123456789-.")
                     != strlen(n->text)))
        {
            diag(DIAG_ERROR, &n->pos, "VALUE",
                 "\"%s\" has other characters than a-z, 0-9, \"-\" and "
                 "\".\"", keys[i]);
            return -1;
        }
    }

    return 0;
}


/* -1: nothing to convert, which has been said */

static int
schema_header(node_t *doc, const kind_t **kind)
{
    size_t       len;
    node_t      *n;
    const char  *version, *name;

    if (doc->kind != NODE_MAP) {
        diag(DIAG_ERROR, &doc->pos, "SYNTAX",
             "this is not a manifest: \"apiVersion:\" and \"kind:\" are "
             "expected");
        return -1;
    }

    version = node_text(doc, "apiVersion");
    name = node_text(doc, "kind");

    if (version == NULL || name == NULL) {
        diag(DIAG_ERROR, &doc->pos, "MISSING", "a manifest must have \"%s\"",
             version ? "kind" : "apiVersion");
        return -1;
    }

    n = node_get(doc, "kind");
    len = strcspn(version, "/");

    for (*kind = kinds; (*kind)->kind; (*kind)++) {

        if (strcmp((*kind)->kind, name) != 0) {
            continue;
        }

        if (strncmp((*kind)->group, version, len) != 0
            || (*kind)->group[len] != '\0')
        {
            diag(DIAG_ERROR, &node_get(doc, "apiVersion")->pos, "KIND",
                 "kind %s of \"%s\" is not converted, that of \"%s\" is",
                 name, version, (*kind)->group);
            return -1;
        }

        if ((*kind)->refusal) {
            diag(DIAG_ERROR, &n->pos, "UNSUPPORTED",
                 "kind %s is not converted yet, and it %s: take it out of the "
                 "input to convert without it", name, (*kind)->refusal);
            return -1;
        }

        if (strcmp(version + len, "/v1") != 0
            && strcmp(version + len, "/v1beta1") != 0
            && strcmp(version + len, "/v1alpha3") != 0
            && strcmp(version + len, "/v1alpha1") != 0)
        {
            diag(DIAG_ERROR, &node_get(doc, "apiVersion")->pos, "VALUE",
                 "unknown version \"%s\" of kind %s", version, name);
            return -1;
        }

        return 0;
    }

    return schema_other(doc);
}


/* what is not of Istio can be left out; a slip of the pen can not */

static int
schema_other(node_t *doc)
{
    size_t         best, n;
    node_t        *node;
    const char    *name, *version;
    const kind_t  *kind, *nearest;

    version = node_text(doc, "apiVersion");
    name = node_text(doc, "kind");
    node = node_get(doc, "kind");

    if (strncmp(version, "gateway.networking.k8s.io/", 26) == 0) {
        diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
             "kind %s of the Gateway API is not converted yet: take it out of "
             "the input to convert without it", name);
        return -1;
    }

    best = strstr(version, "istio") ? 4 : 3;
    nearest = NULL;

    for (kind = kinds; kind->kind; kind++) {
        n = schema_distance(kind->kind, name);

        if (n < best) {
            best = n;
            nearest = kind;
        }
    }

    if (nearest
        || (strstr(version, "istio.io/") && strncmp(version, "telemetry.", 10)))
    {
        diag(DIAG_ERROR, &node->pos, "KIND",
             "unknown kind \"%s\" in \"%s\"%s%s%s", name, version,
             nearest ? ", did you mean \"" : "",
             nearest ? nearest->kind : "", nearest ? "\"?" : "");
        return -1;
    }

    diag(DIAG_NOTE, &node->pos, "SKIPPED",
         "kind %s has no effect here, skipped", name);

    return -1;
}


static int
schema_fields(node_t *map, const field_t *fields, const char *where)
{
    int             rc;
    node_t         *n;
    const field_t  *f;

    rc = 0;

    for (n = map->child; n; n = n->next) {

        for (f = fields; f->name; f++) {
            if (strcmp(f->name, n->key->text) == 0) {
                break;
            }
        }

        if (f->name == NULL) {
            schema_unknown(n->key, fields, where);
            rc = -1;
            continue;
        }

        if (schema_field(n, f, where) != 0) {
            rc = -1;
        }
    }

    for (f = fields; f->name; f++) {
        if (f->required == F_MUST && node_get(map, f->name) == NULL) {
            diag(DIAG_ERROR, &map->pos, "MISSING", "%s must have \"%s\"",
                 where, f->name);
            rc = -1;
        }
    }

    return rc;
}


static int
schema_field(node_t *node, const field_t *f, const char *where)
{
    switch (f->use) {

    case F_LATER:
        node->refusal = xprintf("\"%s\" of %s is not rendered yet: %s",
                                f->name, where, f->words ? f->words
                                : "remove it, if what it does can be done "
                                  "without");
        break;

    case F_NEVER:
        node->refusal = xprintf("\"%s\" of %s cannot be enforced here",
                                f->name, where);
        break;

    case F_NONE:
        diag(DIAG_NOTE, &node->key->pos, "NOEFFECT",
             "\"%s\" of %s has no effect at an egress gateway",
             f->name, where);
        break;

    case F_WARN:
        diag(DIAG_WARNING, &node->key->pos, "UNSUPPORTED",
             "\"%s\" is not rendered yet: see --access-log", f->name);
        break;

    default:
        break;
    }

    return schema_type(node, f);
}


static int
schema_type(node_t *node, const field_t *f)
{
    switch (f->type) {

    case F_ANY:
        return 0;

    case F_MAP:
        if (node->kind != NODE_MAP) {
            return schema_wrong(node, "a mapping");
        }

        return schema_fields(node, f->fields, f->name);

    case F_LABELS:
    case F_PORTS:
        if (node->kind != NODE_MAP) {
            return schema_wrong(node, "a mapping");
        }

        for (node = node->child; node; node = node->next) {
            if (node->kind != NODE_SCALAR) {
                return schema_wrong(node, "a value");
            }

            if (f->type == F_PORTS && schema_number(node, 1, 65535) != 0) {
                return -1;
            }
        }

        return 0;

    case F_STRS:
    case F_MAPS:
        return schema_list(node, f);

    default:
        return schema_scalar(node, f);
    }
}


static int
schema_wrong(node_t *node, const char *expected)
{
    static const char  *names[] = { "a value", "a list", "a mapping" };

    diag(DIAG_ERROR, &node->pos, "TYPE", "%s%s%sis %s, %s was expected",
         node->key ? "\"" : "", node->key ? node->key->text : "",
         node->key ? "\" " : "this ", names[node->kind], expected);

    return -1;
}


static int
schema_list(node_t *node, const field_t *f)
{
    int      rc;
    node_t  *n;
    field_t  item;

    if (node->kind != NODE_LIST) {
        return schema_wrong(node, "a list");
    }

    if (f->required && node->child == NULL) {
        diag(DIAG_ERROR, &node->pos, "MISSING",
             "\"%s\" is empty: remove it, or say what it is for", f->name);
        return -1;
    }

    rc = 0;
    item = *f;
    item.type = F_STR;

    for (n = node->child; n; n = n->next) {

        if (f->type == F_STRS) {
            rc |= schema_scalar(n, &item);

        } else if (n->kind != NODE_MAP) {
            rc |= schema_wrong(n, "a mapping");

        } else if (f->fields) {
            rc |= schema_fields(n, f->fields, f->name);
        }
    }

    return rc;
}


static int
schema_scalar(node_t *node, const field_t *f)
{
    char        *end;
    const char  *s;

    if (node->kind != NODE_SCALAR) {
        return schema_wrong(node, "a value");
    }

    s = node->text;

    switch (f->type) {

    case F_INT:
        return schema_number(node, 0, 2147483647);

    case F_PORT:
        return schema_number(node, 1, 65535);

    case F_BOOL:
        if (!node->plain || (strcmp(s, "true") && strcmp(s, "false"))) {
            return schema_wrong(node, "true or false");
        }

        return 0;

    case F_TIME:
        if (schema_time(s) != 0) {
            return schema_wrong(node, "a time like \"10s\"");
        }

        return 0;

    case F_WORD:
        return schema_word(node, f->words);

    default: /* F_STR */
        if (*s == '\0') {
            diag(DIAG_ERROR, &node->pos, "VALUE", "\"%s\" is empty", f->name);
            return -1;
        }

        (void) strtod(s, &end);

        if (node->plain
            && (*end == '\0' || strcmp(s, "true") == 0
                || strcmp(s, "false") == 0 || strcmp(s, "null") == 0
                || strcmp(s, "~") == 0))
        {
            diag(DIAG_ERROR, &node->pos, "TYPE",
                 "\"%s\" wants a string: write \"%s\" in quotes",
                 f->name, s);
            return -1;
        }

        return 0;
    }
}


/* decimal, and nothing that another reader of YAML takes for octal */

static int
schema_number(node_t *node, long min, long max)
{
    long         n;
    const char  *s;

    s = node->text;

    if (!node->plain || *s == '\0' || strspn(s, "0123456789") != strlen(s)
        || (*s == '0' && s[1]))
    {
        return schema_wrong(node, "a number");
    }

    errno = 0;
    n = strtol(s, NULL, 10);

    if (errno || n < min || n > max) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "\"%s\" has to be from %ld to %ld", node->key->text, min, max);
        return -1;
    }

    return 0;
}


static int
schema_time(const char *s)
{
    size_t  n;

    if (*s == '\0') {
        return -1;
    }

    while (*s) {
        n = strspn(s, "0123456789.");

        if (n == 0) {
            return -1;
        }

        s += n;

        if (strncmp(s, "ms", 2) == 0) {
            s += 2;

        } else if (*s == 's' || *s == 'm' || *s == 'h') {
            s++;

        } else {
            return -1;
        }
    }

    return 0;
}


static int
schema_word(node_t *node, const char *words)
{
    size_t       len, n, best;
    const char  *p, *nearest;
    char         word[64];

    best = 4;
    nearest = NULL;

    for (p = words; *p; p += len + (p[len] == '|')) {
        len = strcspn(p, "|");

        memcpy(word, p, len);
        word[len] = '\0';

        if (strcmp(word, node->text) == 0) {
            return 0;
        }

        /* Istio takes protocols in any case, and nothing else */

        if (strcmp(node->key->text, "protocol") == 0
            && strcasecmp(word, node->text) == 0)
        {
            strcpy(node->text, word);
            return 0;
        }

        n = schema_distance(word, node->text);

        if (n < best) {
            best = n;
            nearest = p;
        }
    }

    if (nearest) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "unknown value \"%s\", did you mean \"%.*s\"?", node->text,
             (int) strcspn(nearest, "|"), nearest);

    } else {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "unknown value \"%s\", it has to be one of %s", node->text,
             words);
    }

    return -1;
}


static void
schema_unknown(node_t *key, const field_t *fields, const char *where)
{
    size_t          n, best;
    const field_t  *f, *nearest;

    best = 4;
    nearest = NULL;

    for (f = fields; f->name; f++) {
        n = schema_distance(f->name, key->text);

        if (n < best) {
            best = n;
            nearest = f;
        }
    }

    diag(DIAG_ERROR, &key->pos, "FIELD", "unknown field \"%s\" in %s%s%s%s",
         key->text, where, nearest ? ", did you mean \"" : "",
         nearest ? nearest->name : "", nearest ? "\"?" : "");
}


/* Levenshtein's, of what is short enough; case counts for nothing */

static size_t
schema_distance(const char *a, const char *b)
{
    size_t  i, j, la, lb, cost, prev, next, row[64];

    la = strlen(a);
    lb = strlen(b);

    if (la >= 64 || lb >= 64) {
        return 64;
    }

    for (j = 0; j <= lb; j++) {
        row[j] = j;
    }

    for (i = 1; i <= la; i++) {
        prev = row[0];
        row[0] = i;

        for (j = 1; j <= lb; j++) {
            cost = tolower((unsigned char) a[i - 1])
                   != tolower((unsigned char) b[j - 1]);

            next = prev + cost;

            if (row[j] + 1 < next) {
                next = row[j] + 1;
            }

            if (row[j - 1] + 1 < next) {
                next = row[j - 1] + 1;
            }

            prev = row[j];
            row[j] = next;
        }
    }

    return row[lb];
}
