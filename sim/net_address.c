// Names and ports: which socket is bound where, what is left of a name in the file system.
//
// Every internet address is this host's: a scenario may give its hosts addresses of their own.
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

// As /proc/sys/net/ipv4/ip_local_port_range begins.
#define PORT_EPHEMERAL_FIRST 32768u

// A socket's name in the file system. It stays when its socket goes, until it is unlinked.
struct sim_path {
    struct weir_address address;
    struct sim_socket *socket; // NULL: stale
};

_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "the port is in both in the same place");

// ---- Addresses ----

static int address_family(const struct weir_address *address)
{
    sa_family_t family = AF_UNSPEC;
    if (address->bytes_count >= sizeof family) {
        memcpy(&family, address->bytes, sizeof family);
    }
    return family;
}

static bool address_same(const struct weir_address *one, const struct weir_address *other)
{
    return one->bytes_count == other->bytes_count &&
           memcmp(one->bytes, other->bytes, one->bytes_count) == 0;
}

uint16_t sim_address_port_of(const struct weir_address *address)
{
    in_port_t port = 0;
    weir_assert(address->bytes_count >= sizeof(struct sockaddr_in));
    memcpy(&port, address->bytes + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

static void address_set_port(struct weir_address *address, uint16_t port)
{
    in_port_t network = htons(port);
    memcpy(address->bytes + offsetof(struct sockaddr_in, sin_port), &network, sizeof network);
}

// The host's part of an internet address.
static const unsigned char *address_host(const struct weir_address *address, size_t *bytes)
{
    if (address_family(address) == AF_INET) {
        *bytes = sizeof(struct in_addr);
        return address->bytes + offsetof(struct sockaddr_in, sin_addr);
    }
    *bytes = sizeof(struct in6_addr);
    return address->bytes + offsetof(struct sockaddr_in6, sin6_addr);
}

static bool address_any(const struct weir_address *address)
{
    size_t bytes = 0;
    const unsigned char *host = address_host(address, &bytes);
    for (size_t index = 0; index < bytes; index++) {
        if (host[index] != 0) {
            return false;
        }
    }
    return true;
}

// Whether something sent to `to` belongs to a socket bound to `bound`.
static bool address_covers(const struct weir_address *bound, const struct weir_address *to)
{
    if (address_family(bound) != address_family(to) ||
        sim_address_port_of(bound) != sim_address_port_of(to)) {
        return false;
    }
    size_t bytes = 0;
    const unsigned char *host = address_host(bound, &bytes);
    return address_any(bound) || memcmp(host, address_host(to, &bytes), bytes) == 0;
}

// 0, or -EINVAL: too short, -EAFNOSUPPORT: of another family.
int sim_address_check(const struct sim_socket *socket, const struct weir_address *address)
{
    size_t least = socket->family == AF_INET    ? sizeof(struct sockaddr_in)
                   : socket->family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                : offsetof(struct sockaddr_un, sun_path) + 1;
    if (address->bytes_count < least ||
        (socket->family == AF_UNIX && address->bytes_count > sizeof(struct sockaddr_un))) {
        return -EINVAL;
    }
    if (address_family(address) != socket->family) {
        return socket->family == AF_UNIX ? -EINVAL : -EAFNOSUPPORT;
    }
    return 0;
}

// A path ends at its first zero; an abstract name is all the bytes there are.
static struct weir_address address_canonical(const struct weir_address *address)
{
    struct weir_address canonical = {.bytes_count = address->bytes_count};
    memcpy(canonical.bytes, address->bytes, address->bytes_count);
    const size_t path = offsetof(struct sockaddr_un, sun_path);
    if (canonical.bytes[path] != 0) {
        size_t length = strnlen((const char *)canonical.bytes + path, address->bytes_count - path);
        canonical.bytes_count = (uint32_t)(path + length + 1);
        canonical.bytes[path + length] = 0;
    }
    return canonical;
}

static bool address_abstract(const struct weir_address *address)
{
    return address->bytes[offsetof(struct sockaddr_un, sun_path)] == 0;
}

// ---- The file system ----

static struct sim_path *path_find(struct sim_net *net, const struct weir_address *address)
{
    for (uint32_t index = 0; index < net->paths_count; index++) {
        if (address_same(&net->paths[index].address, address)) {
            return &net->paths[index];
        }
    }
    return NULL;
}

static void path_add(struct weir_sim *sim, struct sim_socket *socket)
{
    struct sim_net *net = sim->net;
    if (net->paths_count == net->paths_capacity) {
        uint32_t capacity = net->paths_capacity * 2 + 8;
        struct sim_path *larger = realloc(net->paths, capacity * sizeof *larger);
        if (larger == NULL) {
            sim_net_no_memory(sim);
        }
        net->paths = larger;
        net->paths_capacity = capacity;
    }
    net->paths[net->paths_count++] = (struct sim_path){socket->address, socket};
}

void sim_address_forget(struct sim_net *net, const struct weir_address *address)
{
    struct weir_address canonical = address_canonical(address);
    struct sim_path *path = path_find(net, &canonical);
    if (path != NULL) {
        *path = net->paths[--net->paths_count];
    }
}

// ---- Bound sockets ----

static void bound_add(struct sim_net *net, struct sim_socket *socket)
{
    socket->next_bound = net->bound;
    net->bound = socket;
}

void sim_address_unbind(struct sim_net *net, struct sim_socket *socket)
{
    struct sim_socket **link = &net->bound;
    while (*link != NULL && *link != socket) {
        link = &(*link)->next_bound;
    }
    if (*link != NULL) {
        *link = socket->next_bound;
        socket->next_bound = NULL;
    }
    for (uint32_t index = 0; index < net->paths_count; index++) {
        if (net->paths[index].socket == socket) {
            net->paths[index].socket = NULL;
        }
    }
}

// Abstract names of streams and of datagrams are worlds of their own.
static struct sim_socket *bound_abstract(struct sim_net *net, enum sim_transport transport,
                                         const struct weir_address *address)
{
    for (struct sim_socket *at = net->bound; at != NULL; at = at->next_bound) {
        if (at->transport == transport && address_same(&at->address, address)) {
            return at;
        }
    }
    return NULL;
}

static int bind_unix(struct weir_sim *sim, struct sim_socket *socket,
                     const struct weir_address *address)
{
    struct weir_address canonical = address_canonical(address);
    bool abstract = address_abstract(&canonical);
    // A path is made before it is seen that the socket has a name already.
    if (!abstract && path_find(sim->net, &canonical) != NULL) {
        return -EADDRINUSE;
    }
    if (socket->address.bytes_count != 0) {
        return -EINVAL;
    }
    if (abstract && bound_abstract(sim->net, socket->transport, &canonical) != NULL) {
        return -EADDRINUSE;
    }
    socket->address = canonical;
    if (!abstract) {
        path_add(sim, socket);
    }
    bound_add(sim->net, socket);
    return 0;
}

// Two sockets share a port only if both say so and neither listens.
static bool bound_conflict(const struct sim_socket *one, const struct sim_socket *other,
                           const struct weir_address *address)
{
    if (one->transport != other->transport || one->family != other->family ||
        (!address_covers(&other->address, address) && !address_covers(address, &other->address))) {
        return false;
    }
    return (one->flags & other->flags & SIM_REUSE) == 0 || other->state == SIM_LISTEN;
}

int sim_address_listen(const struct sim_net *net, const struct sim_socket *socket)
{
    for (const struct sim_socket *at = net->bound; at != NULL; at = at->next_bound) {
        if (at != socket && at->state == SIM_LISTEN && at->family != AF_UNIX &&
            bound_conflict(socket, at, &socket->address)) {
            return -EADDRINUSE;
        }
    }
    return 0;
}

static bool port_taken(struct sim_net *net, const struct sim_socket *socket,
                       const struct weir_address *address)
{
    for (const struct sim_socket *at = net->bound; at != NULL; at = at->next_bound) {
        if (at != socket && at->family != AF_UNIX && bound_conflict(socket, at, address)) {
            return true;
        }
    }
    return false;
}

static int bind_port(struct sim_net *net, struct sim_socket *socket, struct weir_address address)
{
    if (socket->address.bytes_count != 0) {
        return -EINVAL;
    }
    for (uint32_t tries = 0; sim_address_port_of(&address) == 0; tries++) {
        if (tries > UINT16_MAX) {
            return -EADDRINUSE;
        }
        struct weir_address candidate = address;
        net->next_port =
            net->next_port < PORT_EPHEMERAL_FIRST ? PORT_EPHEMERAL_FIRST : (uint16_t)net->next_port;
        address_set_port(&candidate, net->next_port++);
        if (!port_taken(net, socket, &candidate)) {
            address = candidate;
        }
    }
    if (port_taken(net, socket, &address)) {
        return -EADDRINUSE;
    }
    socket->address = address;
    bound_add(net, socket);
    return 0;
}

int sim_address_bind(struct weir_sim *sim, struct sim_socket *socket,
                     const struct weir_address *address)
{
    int error = sim_address_check(socket, address);
    if (error < 0) {
        return error;
    }
    return socket->family == AF_UNIX ? bind_unix(sim, socket, address)
                                     : bind_port(sim->net, socket, *address);
}

int sim_address_ephemeral(struct weir_sim *sim, struct sim_socket *socket,
                          const struct weir_address *towards)
{
    if (socket->address.bytes_count != 0) {
        return 0;
    }
    struct weir_address address = {.bytes_count = sizeof(struct sockaddr_in)};
    if (towards != NULL) { // this host's side of the connection has the peer's address
        address = *towards;
        address_set_port(&address, 0);
    } else {
        sa_family_t family = (sa_family_t)socket->family;
        memcpy(address.bytes, &family, sizeof family);
        address.bytes_count =
            family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    }
    return bind_port(sim->net, socket, address);
}

// ---- Look-up ----

struct sim_socket *sim_address_unix(struct sim_net *net, enum sim_transport transport,
                                    const struct weir_address *address, int *error)
{
    struct weir_address canonical = address_canonical(address);
    struct sim_socket *socket = NULL;
    *error = -ECONNREFUSED;
    if (address_abstract(&canonical)) {
        socket = bound_abstract(net, transport, &canonical);
    } else {
        struct sim_path *path = path_find(net, &canonical);
        *error = path == NULL ? -ENOENT : -ECONNREFUSED;
        socket = path == NULL ? NULL : path->socket;
        if (socket != NULL && socket->transport != transport) {
            *error = -EPROTOTYPE;
            socket = NULL;
        }
    }
    return socket;
}

struct sim_socket *sim_address_port(struct sim_net *net, enum sim_transport transport,
                                    const struct weir_address *address,
                                    const struct weir_address *from)
{
    struct sim_socket *found = NULL;
    for (struct sim_socket *at = net->bound; at != NULL; at = at->next_bound) {
        if (at->transport != transport || !address_covers(&at->address, address)) {
            continue;
        }
        if (transport == SIM_TCP) {
            if (at->state == SIM_LISTEN) {
                return at;
            }
        } else if (at->remote.bytes_count == 0) {
            found = at;
        } else if (address_same(&at->remote, from)) {
            return at;
        }
    }
    return found;
}
