// The scriptable collector of support_collector.h.
#include "tests/support_collector_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support_loopback.h"
#include "tests/support_must.h"

#define WAIT_ROUNDS_MAX 10000

static const struct collector_plan plan_none;

static bool is_stream(const struct collector *me)
{
    return me->kind == COLLECTOR_UNIX || me->kind == COLLECTOR_TCP;
}

static bool is_unix(const struct collector *me)
{
    return me->kind == COLLECTOR_UNIX || me->kind == COLLECTOR_UNIX_DGRAM;
}

static void nonblocking(int fd)
{
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
}

static struct connection *connection_add(struct collector *me, int fd)
{
    MUST(me->connections_count < CONNECTIONS_MAX);
    size_t index = me->connections_count++;
    struct connection *one = &me->connections[index];
    one->fd = fd;
    one->plan = &plan_none;
    if (me->plans_count > 0) {
        one->plan = &me->plans[index < me->plans_count ? index : me->plans_count - 1];
    }
    one->garbage_left = one->plan->garbage_bytes;
    return one;
}

static void listener_open(struct collector *me)
{
    int type = is_stream(me) ? SOCK_STREAM : SOCK_DGRAM;
    me->listener = socket(is_unix(me) ? AF_UNIX : AF_INET, type | SOCK_CLOEXEC, 0);
    MUST(me->listener >= 0);
    if (is_unix(me)) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, me->path, strlen(me->path) + 1);
        (void)unlink(me->path);
        MUST(bind(me->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    } else {
        int one = 1;
        socklen_t bytes = sizeof(me->address);
        if (is_stream(me)) {
            MUST(setsockopt(me->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
        }
        MUST(bind(me->listener, (struct sockaddr *)&me->address, bytes) == 0);
        MUST(getsockname(me->listener, (struct sockaddr *)&me->address, &bytes) == 0);
    }
    nonblocking(me->listener);
    if (is_stream(me)) {
        MUST(listen(me->listener, 64) == 0);
    } else {
        (void)connection_add(me, me->listener);
    }
}

static void connection_close(struct connection *one)
{
    if (one->fd >= 0) {
        (void)close(one->fd);
        one->fd = -1;
    }
}

static void listener_close(struct collector *me)
{
    if (me->listener >= 0 && is_stream(me)) {
        (void)close(me->listener);
    } else if (me->listener >= 0) {
        connection_close(&me->connections[me->connections_count - 1]);
    }
    if (me->listener >= 0 && is_unix(me)) {
        (void)unlink(me->path);
    }
    me->listener = -1;
}

// ---- Rounds ----

static void connection_keep(struct collector *me, struct connection *one, const void *bytes,
                            size_t count)
{
    if (one->count + count + 1 > one->max) {
        one->max = 2 * (one->count + count + 1);
        one->bytes = realloc(one->bytes, one->max);
        MUST(one->bytes != NULL);
    }
    memcpy(one->bytes + one->count, bytes, count);
    one->count += count;
    me->bytes += count;
}

static void connection_then(struct collector *me, struct connection *one)
{
    int unread = 0;
    (void)ioctl(one->fd, FIONREAD, &unread);
    if (one->plan->then_wait_unread && unread == 0) {
        one->stalled = true; // looked at again in the next round
        return;
    }
    one->then_done = true;
    one->stalled = false;
    switch (one->plan->then) {
    case COLLECTOR_GO_ON: break;
    case COLLECTOR_CLOSE: connection_close(one); break;
    case COLLECTOR_HALF_CLOSE: (void)shutdown(one->fd, SHUT_WR); break;
    case COLLECTOR_STALL: one->stalled = true; break;
    }
    (void)me;
}

static bool then_is_due(const struct connection *one)
{
    return one->plan->then != COLLECTOR_GO_ON && !one->then_done &&
           one->count >= one->plan->then_bytes;
}

// One read.  returns  whether another could bring more.
static bool connection_read(struct collector *me, struct connection *one)
{
    unsigned char bytes[65536];
    if (then_is_due(one)) {
        connection_then(me, one);
    }
    if (one->fd < 0 || one->stalled || one->held) {
        return false;
    }
    size_t max = sizeof(bytes) - 1;
    if (one->plan->read_bytes_max != 0 && one->plan->read_bytes_max < max) {
        max = one->plan->read_bytes_max;
    }
    if (one->plan->then != COLLECTOR_GO_ON && !one->then_done &&
        one->plan->then_bytes - one->count < max) {
        max = one->plan->then_bytes - one->count;
    }
    ssize_t count = recv(one->fd, bytes, max, 0);
    if (count > 0) {
        if (!is_stream(me)) {
            bytes[count++] = '\n'; // one line a datagram
        }
        connection_keep(me, one, bytes, (size_t)count);
        if (then_is_due(one)) {
            connection_then(me, one);
        }
        return one->plan->read_bytes_max == 0;
    }
    if (count == 0 && is_stream(me)) {
        one->ended = true;
        me->ends++;
        if (one->plan->hold_open) {
            one->held = true;
        } else {
            connection_close(one);
        }
    } else if (count < 0 && errno != EAGAIN && errno != EINTR && is_stream(me)) {
        connection_close(one);
    }
    return false;
}

static void connection_babble(struct connection *one)
{
    static const char garbage[4096] = "garbage \377 nobody asked for\n";
    while (one->fd >= 0 && one->garbage_left > 0) {
        size_t bytes = one->garbage_left < sizeof(garbage) ? one->garbage_left : sizeof(garbage);
        ssize_t count = send(one->fd, garbage, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count <= 0) {
            break;
        }
        one->garbage_left -= (size_t)count;
    }
    if (one->fd >= 0 && one->garbage_left == 0 && one->close_after_garbage) {
        connection_close(one);
    }
}

static bool collector_round(struct collector *me)
{
    bool more = false;
    while (is_stream(me) && me->listener >= 0) {
        int fd = accept4(me->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            break;
        }
        (void)connection_add(me, fd);
    }
    for (size_t i = 0; i < me->connections_count; i++) {
        struct connection *one = &me->connections[i];
        if (one->fd >= 0) {
            connection_babble(one);
            more = connection_read(me, one) || more;
        }
    }
    return more;
}

void collector_pump(struct collector *me)
{
    pthread_mutex_lock(&me->mutex);
    for (int i = 0; i < 64 && collector_round(me); i++) {
    }
    pthread_mutex_unlock(&me->mutex);
}

static void *collector_main(void *argument)
{
    struct collector *me = argument;
    for (;;) {
        pthread_mutex_lock(&me->mutex);
        bool running = me->running;
        bool more = collector_round(me);
        pthread_mutex_unlock(&me->mutex);
        if (!running && !more) {
            return NULL;
        }
        if (!more) {
            (void)poll(NULL, 0, 1);
        }
    }
}

// ---- The test's side ----

struct collector *collector_start(enum collector_kind kind, const struct collector_plan *plans,
                                  size_t plans_count, bool threaded, bool listening)
{
    struct collector *me = calloc(1, sizeof(*me));
    MUST(me != NULL && pthread_mutex_init(&me->mutex, NULL) == 0);
    me->kind = kind;
    me->plans = plans;
    me->plans_count = plans_count;
    me->listener = -1;
    me->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(test_loopback())};
    if (is_unix(me)) {
        memcpy(me->directory, "/tmp/weir-test-XXXXXX", sizeof("/tmp/weir-test-XXXXXX"));
        MUST(mkdtemp(me->directory) != NULL);
        (void)snprintf(me->path, sizeof(me->path), "%s/s", me->directory);
        (void)snprintf(me->endpoint, sizeof(me->endpoint), "%s:%s",
                       is_stream(me) ? "unix" : "unix-dgram", me->path);
    }
    listener_open(me);
    if (!is_unix(me)) {
        (void)snprintf(me->endpoint, sizeof(me->endpoint), "%s://%s:%u",
                       is_stream(me) ? "tcp" : "udp", inet_ntoa(me->address.sin_addr),
                       (unsigned)ntohs(me->address.sin_port));
    }
    if (!listening) {
        listener_close(me);
    }
    me->threaded = threaded;
    me->running = true;
    MUST(!threaded || pthread_create(&me->thread, NULL, collector_main, me) == 0);
    return me;
}

const char *collector_endpoint(const struct collector *me)
{
    return me->endpoint;
}

void collector_listen(struct collector *me, bool on)
{
    pthread_mutex_lock(&me->mutex);
    if (!on) {
        listener_close(me);
    } else if (me->listener < 0) {
        listener_open(me);
    }
    pthread_mutex_unlock(&me->mutex);
}

void collector_resume(struct collector *me)
{
    pthread_mutex_lock(&me->mutex);
    for (size_t i = 0; i < me->connections_count; i++) {
        struct connection *one = &me->connections[i];
        one->stalled = false;
        if (one->held) {
            one->held = false;
            connection_close(one);
        }
    }
    pthread_mutex_unlock(&me->mutex);
}

void collector_cut(struct collector *me)
{
    pthread_mutex_lock(&me->mutex);
    for (size_t i = 0; i < me->connections_count; i++) {
        connection_close(&me->connections[i]);
    }
    pthread_mutex_unlock(&me->mutex);
}

void collector_garbage(struct collector *me, size_t bytes, bool close_after)
{
    pthread_mutex_lock(&me->mutex);
    for (size_t i = 0; i < me->connections_count; i++) {
        me->connections[i].garbage_left = bytes;
        me->connections[i].close_after_garbage = close_after;
    }
    pthread_mutex_unlock(&me->mutex);
}

void collector_stop(struct collector *me)
{
    pthread_mutex_lock(&me->mutex);
    me->running = false;
    pthread_mutex_unlock(&me->mutex);
    if (me->threaded) {
        MUST(pthread_join(me->thread, NULL) == 0);
        me->threaded = false;
    }
    collector_pump(me);
    collector_cut(me);
    collector_listen(me, false);
}

void collector_free(struct collector *me)
{
    collector_stop(me);
    for (size_t i = 0; i < me->connections_count; i++) {
        free(me->connections[i].bytes);
    }
    if (is_unix(me)) {
        (void)rmdir(me->directory);
    }
    pthread_mutex_destroy(&me->mutex);
    free(me);
}

static size_t value_read(struct collector *me, const size_t *value)
{
    pthread_mutex_lock(&me->mutex);
    size_t read = *value;
    pthread_mutex_unlock(&me->mutex);
    return read;
}

size_t collector_connections(struct collector *me)
{
    return value_read(me, &me->connections_count);
}

size_t collector_bytes(struct collector *me)
{
    return value_read(me, &me->bytes);
}

size_t collector_ends(struct collector *me)
{
    return value_read(me, &me->ends);
}

static bool value_wait(struct collector *me, const size_t *value, size_t least)
{
    for (int i = 0; i < WAIT_ROUNDS_MAX; i++) {
        if (value_read(me, value) >= least) {
            return true;
        }
        (void)poll(NULL, 0, 1);
    }
    return false;
}

bool collector_wait_bytes(struct collector *me, size_t bytes)
{
    return value_wait(me, &me->bytes, bytes);
}

bool collector_wait_connections(struct collector *me, size_t count)
{
    return value_wait(me, &me->connections_count, count);
}

char *collector_copy(struct collector *me, size_t connection, size_t *bytes)
{
    pthread_mutex_lock(&me->mutex);
    MUST(connection < me->connections_count);
    const struct connection *one = &me->connections[connection];
    char *copy = malloc(one->count + 1);
    MUST(copy != NULL);
    if (one->count > 0) {
        memcpy(copy, one->bytes, one->count);
    }
    copy[one->count] = '\0';
    *bytes = one->count;
    pthread_mutex_unlock(&me->mutex);
    return copy;
}
