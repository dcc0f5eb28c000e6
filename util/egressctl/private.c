
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * A private nginx that answers questions about a configuration: its egress
 * block and its modules, listeners on Unix sockets in a folder of its own
 * instead of those that it has.  It is asked and ended; nothing is dialled.
 */


#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "egressctl.h"


#define PRIVATE_WAIT     20                /* seconds to start */
#define PRIVATE_INCLUDES 8                 /* depth */


/* a configuration in pieces: what a private nginx has of it */

typedef struct {
    char    *modules;
    char    *egress;
    int      stream;
} private_conf_t;


static int private_text(private_t *p, char **text, char **folder);
static char *private_read(const char *name);
static void private_parse(private_conf_t *conf, const char *text,
    const char *folder, int depth);
static const char *private_token(const char *s);
static const char *private_end(const char *s);
static void private_include(private_conf_t *conf, const char *name,
    size_t len, const char *folder, int depth);
static void private_append(char **text, const char *from, size_t len);
static void private_links(private_t *p, const char *folder);
static int private_write(private_t *p, private_conf_t *conf);
static int private_run(private_t *p);
static int private_wait(private_t *p);
static int private_listens(const char *socket_path);
static void private_errors(private_t *p);
static void private_remove(const char *folder);


void
private_add(private_t *p, const char *file)
{
    p->files = realloc(p->files, (p->nfiles + 1) * sizeof(char *));

    if (p->files == NULL) {
        abort();
    }

    p->files[p->nfiles++] = file;
}


int
private_start(private_t *p)
{
    char            *text, *folder;
    const char      *temp;
    private_conf_t   conf;

    memset(&conf, 0, sizeof(private_conf_t));
    conf.modules = xstrdup("");
    folder = NULL;

    if (private_text(p, &text, &folder) != EGRESSCTL_OK) {
        return EGRESSCTL_REFUSED;
    }

    private_parse(&conf, text, folder ? folder : ".", 0);
    free(text);

    if (conf.egress == NULL) {
        diag(DIAG_ERROR, NULL, "PRIVATE", "there is no egress block in %s",
             p->conf ? p->conf : "what was converted");
        return EGRESSCTL_REFUSED;
    }

    temp = getenv("TMPDIR");

    p->folder = xprintf("%s/egressctl-XXXXXX", temp && *temp ? temp : "/tmp");

    if (mkdtemp(p->folder) == NULL) {
        diag(DIAG_ERROR, NULL, "PRIVATE", "%s: %s", p->folder,
             strerror(errno));
        free(p->folder);
        p->folder = NULL;
        return EGRESSCTL_REFUSED;
    }

    p->socket = xprintf("%s/private-admin.sock", p->folder);

    if (folder) {
        private_links(p, folder);
    }

    if (private_write(p, &conf) == -1 || private_run(p) == -1) {
        diag(DIAG_ERROR, NULL, "PRIVATE", "%s: %s", p->folder,
             strerror(errno));
        return EGRESSCTL_REFUSED;
    }

    return private_wait(p);
}


static int
private_text(private_t *p, char **text, char **folder)
{
    int          argc;
    char       **argv, *slash;
    size_t       i;

    if (p->conf) {
        *text = private_read(p->conf);

        if (*text == NULL) {
            diag(DIAG_ERROR, NULL, "READ", "%s: %s", p->conf,
                 strerror(errno));
            return EGRESSCTL_REFUSED;
        }

        *folder = realpath(p->conf, NULL);

        if (*folder == NULL) {
            abort();
        }

        slash = strrchr(*folder, '/');
        *slash = '\0';

        return EGRESSCTL_OK;
    }

    argv = xalloc((p->nfiles * 2 + p->argc + 2) * sizeof(char *));
    argc = 0;

    argv[argc++] = "convert";

    for (i = 0; i < p->nfiles; i++) {
        argv[argc++] = "-f";
        argv[argc++] = (char *) p->files[i];
    }

    for (i = 0; i < (size_t) p->argc; i++) {
        argv[argc++] = p->argv[i];
    }

    argv[argc] = NULL;

    return convert_text(argc, argv, text);
}


static char *
private_read(const char *name)
{
    char    *text;
    FILE    *file;
    size_t   len, size, n;

    file = fopen(name, "re");

    if (file == NULL) {
        return NULL;
    }

    size = 65536;
    len = 0;
    text = xalloc(size);

    while ((n = fread(text + len, 1, size - len - 1, file)) > 0) {
        len += n;

        if (size - len < 2) {
            size *= 2;
            text = realloc(text, size);

            if (text == NULL) {
                abort();
            }
        }
    }

    text[len] = '\0';

    fclose(file);

    return text;
}


/* what stands at the top: one directive or block after the other */

static void
private_parse(private_conf_t *conf, const char *text, const char *folder,
    int depth)
{
    size_t       len;
    const char  *p, *name, *end;

    for (p = private_token(text); *p; p = private_token(end)) {

        name = p;
        len = strcspn(name, " \t\r\n;{#");
        end = private_end(name);

        if (end == name) {
            return;
        }

        if (len == 6 && strncmp(name, "egress", 6) == 0) {
            free(conf->egress);
            conf->egress = NULL;
            private_append(&conf->egress, name, end - name);

        } else if (len == 6 && strncmp(name, "stream", 6) == 0) {
            conf->stream = 1;

        } else if (len == 11 && strncmp(name, "load_module", 11) == 0) {
            private_append(&conf->modules, name, end - name);
            private_append(&conf->modules, "\n", 1);

        } else if (len == 7 && strncmp(name, "include", 7) == 0) {
            private_include(conf, private_token(name + 7),
                            end - private_token(name + 7) - 1, folder, depth);
        }
    }
}


/* skips spaces and comments */

static const char *
private_token(const char *s)
{
    for ( ;; ) {
        s += strspn(s, " \t\r\n");

        if (*s != '#') {
            return s;
        }

        s += strcspn(s, "\n");
    }
}


/* behind the ";" or the "}" that ends the directive */

static const char *
private_end(const char *s)
{
    int   depth, start;
    char  quote;

    depth = 0;
    start = 1;

    while (*s) {

        switch (*s) {

        case ';':
            if (depth == 0) {
                return s + 1;
            }

            break;

        case '{':
            depth++;
            break;

        case '}':
            if (--depth <= 0) {
                return s + 1;
            }

            break;

        case '#':
            if (start) {
                s += strcspn(s, "\n");
                continue;
            }

            break;

        case '$':
            if (s[1] == '{') {
                s += strcspn(s, "}");
                continue;
            }

            break;

        case '\\':
            if (s[1]) {
                s++;
            }

            break;

        case '"':
        case '\'':
            if (!start) {
                break;
            }

            for (quote = *s++; *s && *s != quote; s++) {
                if (*s == '\\' && s[1]) {
                    s++;
                }
            }

            if (*s == '\0') {
                return s;
            }

            break;
        }

        start = (strchr(" \t\r\n;{}", *s) != NULL);
        s++;
    }

    return s;
}


static void
private_include(private_conf_t *conf, const char *name, size_t len,
    const char *folder, int depth)
{
    char    *pattern, *text;
    size_t   i;
    glob_t   found;

    if (depth == PRIVATE_INCLUDES) {
        return;
    }

    while (len && (name[len - 1] == ' ' || name[len - 1] == '"'
                   || name[len - 1] == '\''))
    {
        len--;
    }

    if (*name == '"' || *name == '\'') {
        name++;
        len--;
    }

    pattern = (*name == '/') ? xprintf("%.*s", (int) len, name)
                             : xprintf("%s/%.*s", folder, (int) len, name);

    if (glob(pattern, 0, NULL, &found) == 0) {

        for (i = 0; i < found.gl_pathc; i++) {
            text = private_read(found.gl_pathv[i]);

            if (text) {
                private_parse(conf, text, folder, depth + 1);
                free(text);
            }
        }

        globfree(&found);
    }

    free(pattern);
}


static void
private_append(char **text, const char *from, size_t len)
{
    char  *longer;

    longer = xprintf("%s%.*s", *text ? *text : "", (int) len, from);

    free(*text);
    *text = longer;
}


/* files that are named without a folder are beside the configuration */

static void
private_links(private_t *p, const char *folder)
{
    DIR            *dir;
    char           *from, *to;
    struct dirent  *entry;

    dir = opendir(folder);

    if (dir == NULL) {
        return;
    }

    while ((entry = readdir(dir))) {

        if (entry->d_name[0] == '.' || entry->d_type == DT_SOCK
            || strcmp(entry->d_name, "nginx.conf") == 0
            || strcmp(entry->d_name, "error.log") == 0)
        {
            continue;
        }

        from = xprintf("%s/%s", folder, entry->d_name);
        to = xprintf("%s/%s", p->folder, entry->d_name);

        if (symlink(from, to) == -1) {
            diag(DIAG_NOTE, NULL, "PRIVATE", "%s: %s", to, strerror(errno));
        }

        free(from);
        free(to);
    }

    closedir(dir);
}


static int
private_write(private_t *p, private_conf_t *conf)
{
    char        *name;
    FILE        *file;
    const char  *f;

    f = p->folder;
    name = xprintf("%s/nginx.conf", f);

    file = fopen(name, "we");
    free(name);

    if (file == NULL) {
        return -1;
    }

    fprintf(file, "%s\n"
            "daemon off;\nmaster_process off;\n"
            "pid %s/private.pid;\nerror_log %s/error.log;\n"
            "events { worker_connections 64; }\n\n%s\n\n",
            conf->modules, f, f, conf->egress);

    fprintf(file, "http {\n    access_log off;\n"
            "    client_body_temp_path %s/b; proxy_temp_path %s/p;\n"
            "    fastcgi_temp_path %s/f; uwsgi_temp_path %s/u;\n"
            "    scgi_temp_path %s/s;\n"
            "    upstream private_egress { egress_balance; }\n"
            "    server {\n        listen unix:%s/private-admin.sock;\n"
            "        location /explain { egress_explain; }\n"
            "        location /status { egress_status; }\n    }\n"
            "    server {\n        listen unix:%s/private-http.sock;\n"
            "        egress on;\n"
            "        location / { proxy_pass http://private_egress; }\n"
            "    }\n}\n", f, f, f, f, f, f, f);

    if (conf->stream) {
        fprintf(file, "stream {\n"
                "    upstream private_egress { egress_balance; }\n"
                "    server {\n        listen unix:%s/private-stream.sock;\n"
                "        egress on;\n"
                "        proxy_pass private_egress;\n    }\n}\n", f);
    }

    return fclose(file);
}


static int
private_run(private_t *p)
{
    int    fd;
    char  *conf, *log;

    conf = xprintf("%s/nginx.conf", p->folder);
    log = xprintf("%s/error.log", p->folder);

    p->pid = fork();

    if (p->pid == 0) {
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        if (fd == -1 || dup2(fd, STDOUT_FILENO) == -1
            || dup2(fd, STDERR_FILENO) == -1)
        {
            _exit(126);
        }

        execlp(p->nginx, p->nginx, "-c", conf, "-e", log, (char *) NULL);

        dprintf(STDERR_FILENO, "[emerg] %s: %s\n", p->nginx,
                strerror(errno));
        _exit(127);
    }

    free(conf);
    free(log);

    return p->pid;
}


/* nginx binds the socket first, and listens when all else is right */

static int
private_wait(private_t *p)
{
    int              i, status;
    struct timespec  ts;

    ts.tv_sec = 0;
    ts.tv_nsec = 10000000;

    for (i = 0; i < PRIVATE_WAIT * 100; i++) {

        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            private_errors(p);
            return EGRESSCTL_REFUSED;
        }

        if (private_listens(p->socket)) {
            return EGRESSCTL_OK;
        }

        nanosleep(&ts, NULL);
    }

    diag(DIAG_ERROR, NULL, "PRIVATE", "%s does not start in %d seconds",
         p->nginx, PRIVATE_WAIT);

    return EGRESSCTL_REFUSED;
}


static int
private_listens(const char *socket_path)
{
    int                 fd, rc;
    struct sockaddr_un  sun;

    memset(&sun, 0, sizeof(struct sockaddr_un));

    sun.sun_family = AF_UNIX;

    if (strlen(socket_path) >= sizeof(sun.sun_path)) {
        return 1;
    }

    strcpy(sun.sun_path, socket_path);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return 0;
    }

    rc = connect(fd, (struct sockaddr *) &sun, sizeof(sun));

    close(fd);

    return rc == 0;
}


static void
private_errors(private_t *p)
{
    char  *name, *text, *line, *save;
    int    n;

    n = 0;
    name = xprintf("%s/error.log", p->folder);
    text = private_read(name);
    free(name);

    for (line = text ? strtok_r(text, "\n", &save) : NULL;
         line;
         line = strtok_r(NULL, "\n", &save))
    {
        if (strstr(line, "[emerg]")) {
            diag(DIAG_ERROR, NULL, "PRIVATE", "%s",
                 strstr(line, "[emerg]"));
            n++;
        }
    }

    if (n == 0) {
        diag(DIAG_ERROR, NULL, "PRIVATE", "%s did not start", p->nginx);
    }

    if (text && strstr(text, "unknown directive \"egress\"")) {
        diag(DIAG_NOTE, NULL, "PRIVATE", "the egress modules are not loaded: "
             "%s", p->conf ? "write load_module lines"
                   : "make install, or add \"-- --module-path DIR\", with "
                     "--stream-module FILE if that is a module");
    }

    free(text);
}


void
private_stop(private_t *p)
{
    int  status;

    if (p->pid > 0) {
        kill(p->pid, SIGTERM);
        waitpid(p->pid, &status, 0);
        p->pid = 0;
    }

    if (p->folder) {
        private_remove(p->folder);
        free(p->folder);
        p->folder = NULL;
    }
}


/* links and files of one folder, and nginx's empty ones within */

static void
private_remove(const char *folder)
{
    DIR            *dir;
    char           *name;
    struct dirent  *entry;

    dir = opendir(folder);

    while (dir && (entry = readdir(dir))) {

        if (strcmp(entry->d_name, ".") == 0
            || strcmp(entry->d_name, "..") == 0)
        {
            continue;
        }

        name = xprintf("%s/%s", folder, entry->d_name);

        if (unlink(name) == -1) {
            rmdir(name);
        }

        free(name);
    }

    if (dir) {
        closedir(dir);
    }

    rmdir(folder);
}
