// Listening: from an endpoint in writing to a descriptor, stale socket files replaced.
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/command.h"
#include "writer/endpoint.h"

#define BACKLOG 128
// Datagrams that come while we write are dropped beyond this; the system may grant less.
#define DATAGRAM_BUFFER_BYTES (4 << 20)

_Static_assert(sizeof(((struct weir_listener *)0)->path) >= WEIR_UNIX_PATH_BYTES_MAX, "fits");

// Whether somebody answers on a socket file; -errno when that cannot be known.
static int answered(const struct sockaddr_un *name, socklen_t name_bytes)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            return -errno;
        }
        int code = connect(fd, (const struct sockaddr *)name, name_bytes) == 0 ? 0 : errno;
        (void)close(fd);
        if (code == 0 || code == EAGAIN) { // EAGAIN: its backlog is full
            return 1;
        }
        if (code == ECONNREFUSED || code == ENOENT) {
            return 0;
        }
        if (code != EPROTOTYPE) { // of another type, but alive: the next one finds out
            return -code;
        }
    }
    return 1;
}

// Removes a socket file that nobody answers on. returns 0 or an exit status, said.
static int path_clear(const char *command, const char *option, const char *path,
                      const struct sockaddr_un *name, socklen_t name_bytes)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        return 0; // bind will say what is wrong, if anything
    }
    if (!S_ISSOCK(status.st_mode)) {
        weir_command_say(command, "--%s: %s exists and is not a socket", option, path);
        return WEIR_EXIT_SYSTEM;
    }
    int code = answered(name, name_bytes);
    if (code != 0) {
        weir_command_say(command, "--%s: %s: %s", option, path,
                         code > 0 ? "somebody is listening there already" : strerror(-code));
        return WEIR_EXIT_SYSTEM;
    }
    (void)unlink(path);
    return 0;
}

static int unix_open(struct weir_listener *listener, const char *command, const char *option,
                     const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    weir_assert(length < sizeof(name.sun_path));
    memcpy(name.sun_path, path, length);
    socklen_t name_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    bool abstract = path[0] == '@';
    if (abstract) {
        name.sun_path[0] = '\0';
    } else {
        name_bytes++;
        int status = path_clear(command, option, path, &name, name_bytes);
        if (status != 0) {
            return status;
        }
    }
    int type = listener->stream ? SOCK_STREAM : SOCK_DGRAM;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&name, name_bytes) != 0 ||
        (listener->stream && listen(fd, BACKLOG) != 0)) {
        weir_command_say(command, "--%s: %s: %s", option, path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return WEIR_EXIT_SYSTEM;
    }
    struct stat status;
    if (!abstract && stat(path, &status) == 0) {
        memcpy(listener->path, path, length + 1);
        listener->device = (uint64_t)status.st_dev;
        listener->inode = (uint64_t)status.st_ino;
    }
    listener->fd = fd;
    return 0;
}

// One address of a host. returns the descriptor or -errno.
static int address_open(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int on = 1;
    bool stream = address->ai_socktype == SOCK_STREAM;
    // A restarted listener may have its port back while old connections linger; two datagram
    // receivers must not share one.
    if ((!stream || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 &&
        (!stream || listen(fd, BACKLOG) == 0)) {
        return fd;
    }
    int code = -errno;
    (void)close(fd);
    return code;
}

static int internet_open(struct weir_listener *listener, const char *command, const char *option,
                         const struct weir_endpoint *endpoint, const char *text)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = listener->stream ? SOCK_STREAM : SOCK_DGRAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", (unsigned)endpoint->port);
    int failed = getaddrinfo(endpoint->host, port, &hints, &found);
    if (failed != 0) {
        weir_command_say(command, "--%s: %s: %s", option, text, gai_strerror(failed));
        return WEIR_EXIT_SYSTEM;
    }
    int fd = -EADDRNOTAVAIL;
    for (struct addrinfo *address = found; address != NULL && fd < 0; address = address->ai_next) {
        fd = address_open(address);
    }
    freeaddrinfo(found);
    if (fd < 0) {
        weir_command_say(command, "--%s: %s: %s", option, text, strerror(-fd));
        return WEIR_EXIT_SYSTEM;
    }
    listener->fd = fd;
    return 0;
}

int weir_listener_open(struct weir_listener *listener, const char *command, const char *option,
                       const char *endpoint)
{
    struct weir_endpoint parsed;
    char why[256];
    *listener = (struct weir_listener){.fd = -1};
    if (weir_endpoint_parse(&parsed, endpoint, why, sizeof(why)) != 0) {
        return weir_command_refuse(command, "--%s: %s", option, why);
    }
    if (parsed.transport == WEIR_TRANSPORT_RELP) {
        return weir_command_refuse(command, "--%s: %s: nobody would answer; write tcp://", option,
                                   endpoint);
    }
    listener->stream = weir_transport_is_stream(parsed.transport);
    listener->unix_domain =
        parsed.transport == WEIR_TRANSPORT_UNIX || parsed.transport == WEIR_TRANSPORT_UNIX_DGRAM;
    int status = listener->unix_domain
                     ? unix_open(listener, command, option, parsed.path)
                     : internet_open(listener, command, option, &parsed, endpoint);
    if (status == 0 && !listener->stream) {
        int bytes = DATAGRAM_BUFFER_BYTES;
        (void)setsockopt(listener->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    return status;
}

void weir_listener_unlink(const struct weir_listener *listener)
{
    struct stat status;
    if (listener->path[0] != '\0' && lstat(listener->path, &status) == 0 &&
        (uint64_t)status.st_dev == listener->device && (uint64_t)status.st_ino == listener->inode) {
        (void)unlink(listener->path);
    }
}
