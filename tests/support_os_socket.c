// The faulty operating system's sockets, and the table of descriptors that are open or watched.
#include "tests/support_os_state.h"

// ---- Descriptors ----

struct descriptor *support_os_descriptor(struct support_os *me, int fd)
{
    return fd >= 0 && (size_t)fd < me->descriptors_max ? &me->descriptors[fd] : NULL;
}

struct descriptor *support_os_descriptor_make(struct support_os *me, int fd)
{
    if ((size_t)fd >= me->descriptors_max) {
        size_t wanted = (size_t)fd + 64;
        me->descriptors = support_os_grow(me->descriptors, me->descriptors_max,
                                          sizeof me->descriptors[0], &wanted);
        me->descriptors_max = wanted;
    }
    return &me->descriptors[fd];
}

void support_os_opened(struct support_os *me, int fd)
{
    if (fd < 0) {
        return;
    }
    pthread_mutex_lock(&me->mutex);
    struct descriptor *descriptor = support_os_descriptor_make(me, fd);
    *descriptor = (struct descriptor){.is_open = true};
    me->descriptors_count++;
    pthread_mutex_unlock(&me->mutex);
}

void support_os_closed(struct support_os *me, int fd)
{
    struct descriptor *descriptor = support_os_descriptor(me, fd);
    if (descriptor != NULL) {
        me->descriptors_count -= descriptor->is_open ? 1 : 0;
        *descriptor = (struct descriptor){.is_open = false};
    }
}

// Watching anew reports the present state: the edge that a real EAGAIN would be followed by.
static void edge_again(struct support_os *me, int fd)
{
    pthread_mutex_lock(&me->mutex);
    struct descriptor *descriptor = support_os_descriptor(me, fd);
    if (descriptor != NULL && descriptor->is_watched) {
        (void)me->inner.poller_remove(me->inner.self, &descriptor->poller, fd);
        int result =
            me->inner.poller_add(me->inner.self, &descriptor->poller, fd, descriptor->token);
        descriptor->is_watched = result == 0;
    }
    pthread_mutex_unlock(&me->mutex);
}

#define PARTS_MAX 64
// ---- Sockets ----

int wrap_socket_open(void *self, int family, int type)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_open);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    int fd = me->inner.socket_open(me->inner.self, family, type);
    support_os_opened(me, fd);
    return fd;
}

int wrap_socket_bind(void *self, int fd, const struct weir_address *address)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_bind);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_bind(me->inner.self, fd, address);
}

int wrap_socket_listen(void *self, int fd, int backlog)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_listen);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_listen(me->inner.self, fd, backlog);
}

int wrap_socket_accept(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_accept);
    if (fault.kind != FAULT_NONE) {
        if (fault.code == -EAGAIN) {
            edge_again(me, fd);
        }
        return fault.code;
    }
    int accepted = me->inner.socket_accept(me->inner.self, fd);
    support_os_opened(me, accepted);
    return accepted;
}

int wrap_socket_connect(void *self, int fd, const struct weir_address *address)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_connect);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_connect(me->inner.self, fd, address);
}

// The first `bytes_max` bytes of the parts, or of the first PARTS_MAX of them.
static int64_t send_short(struct support_os *me, int fd, const struct weir_iovec *parts,
                          size_t parts_count, size_t bytes_max)
{
    struct weir_iovec cut[PARTS_MAX];
    size_t cut_count = 0;
    for (; cut_count < parts_count && cut_count < PARTS_MAX && bytes_max > 0; cut_count++) {
        cut[cut_count] = parts[cut_count];
        if (cut[cut_count].bytes_count > bytes_max) {
            cut[cut_count].bytes_count = bytes_max;
        }
        bytes_max -= cut[cut_count].bytes_count;
    }
    return me->inner.socket_send(me->inner.self, fd, cut, cut_count);
}

int64_t wrap_socket_send(void *self, int fd, const struct weir_iovec *parts, size_t parts_count)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_send);
    int64_t result = fault.code;
    if (fault.kind == FAULT_NONE) {
        return me->inner.socket_send(me->inner.self, fd, parts, parts_count);
    }
    if (fault.kind == FAULT_SHORT) {
        result = send_short(me, fd, parts, parts_count, fault.bytes_max);
    }
    if (fault.kind == FAULT_SHORT || result == -EAGAIN) {
        edge_again(me, fd);
    }
    return result;
}

int64_t wrap_socket_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_recv);
    int64_t result = fault.code;
    if (fault.kind == FAULT_NONE) {
        return me->inner.socket_recv(me->inner.self, fd, bytes, bytes_max);
    }
    if (fault.kind == FAULT_SHORT) {
        size_t cut = bytes_max < fault.bytes_max ? bytes_max : fault.bytes_max;
        result = me->inner.socket_recv(me->inner.self, fd, bytes, cut);
    }
    if (fault.kind == FAULT_SHORT || result == -EAGAIN) {
        edge_again(me, fd);
    }
    return result;
}

int wrap_socket_shutdown(void *self, int fd, enum weir_socket_shutdown how)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_shutdown);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_shutdown(me->inner.self, fd, how);
}

int wrap_socket_close(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_close);
    pthread_mutex_lock(&me->mutex);
    support_os_closed(me, fd);
    int result = me->inner.socket_close(me->inner.self, fd);
    pthread_mutex_unlock(&me->mutex);
    if (result == -EBADF) {
        support_os_misuse(me, MISUSE_CLOSE);
    }
    return fault.kind != FAULT_NONE ? fault.code : result;
}

int wrap_socket_error(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_error);
    return fault.kind != FAULT_NONE ? fault.code : me->inner.socket_error(me->inner.self, fd);
}

int64_t wrap_socket_outstanding(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_outstanding);
    return fault.kind != FAULT_NONE ? fault.code : me->inner.socket_outstanding(me->inner.self, fd);
}

int wrap_socket_state(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_state);
    return fault.kind != FAULT_NONE ? fault.code : me->inner.socket_state(me->inner.self, fd);
}

int wrap_socket_option(void *self, int fd, enum weir_socket_option option, int value)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_option);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_option(me->inner.self, fd, option, value);
}

int wrap_socket_address(void *self, int fd, struct weir_address *address)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_socket_address);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_address(me->inner.self, fd, address);
}
