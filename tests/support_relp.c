// The scripted RELP server of support_relp.h.
#include "tests/support_relp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support_loopback.h"
#include "tests/support_must.h"
#include "tests/support_relp_connection.h"

#define CONNECTIONS_MAX 1024
#define WAIT_ROUNDS_MAX 20000

struct relp_server {
    struct relp_plan *plans; // a copy: a test that fails leaves its own behind
    size_t plans_count;
    char endpoint[64];
    int listener, wake;
    pthread_mutex_t mutex;
    pthread_t thread;
    bool running, joined;
    uint64_t allowed;
    struct connection connections[CONNECTIONS_MAX];
    size_t connections_count;
};

static const struct relp_plan plan_none;

static void connections_accept(struct relp_server *me)
{
    for (;;) {
        int fd = accept4(me->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        MUST(me->connections_count < CONNECTIONS_MAX);
        size_t index = me->connections_count++;
        struct connection *one = &me->connections[index];
        one->fd = fd;
        one->plan = &plan_none;
        if (me->plans_count > 0) {
            one->plan = &me->plans[index < me->plans_count ? index : me->plans_count - 1];
        }
        int on = 1;
        MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
    }
}

static bool server_round(struct relp_server *me)
{
    bool more = false;
    connections_accept(me);
    for (size_t i = 0; i < me->connections_count; i++) {
        if (me->connections[i].fd >= 0) {
            more = relp_connection_round(&me->connections[i], &me->allowed) || more;
        }
    }
    return more;
}

static void *server_main(void *argument)
{
    struct relp_server *me = argument;
    for (;;) {
        struct pollfd fds[CONNECTIONS_MAX + 2] = {{.fd = me->wake, .events = POLLIN},
                                                  {.fd = me->listener, .events = POLLIN}};
        nfds_t count = 2;
        pthread_mutex_lock(&me->mutex);
        bool running = me->running;
        bool more = server_round(me);
        bool timed = false;
        for (size_t i = 0; i < me->connections_count; i++) {
            const struct connection *one = &me->connections[i];
            if (one->fd >= 0 && relp_connection_is_timed(one)) {
                timed = true;
            } else if (one->fd >= 0) {
                fds[count++] = (struct pollfd){.fd = one->fd, .events = POLLIN};
            }
        }
        pthread_mutex_unlock(&me->mutex);
        if (!running && !more) {
            return NULL;
        }
        if (!more) {
            uint64_t wakes;
            (void)poll(fds, count, timed ? 1 : -1);
            (void)!read(me->wake, &wakes, sizeof(wakes));
        }
    }
}

// ---- The test's side ----

struct relp_server *relp_server_start(const struct relp_plan *plans, size_t plans_count)
{
    struct relp_server *me = calloc(1, sizeof(*me));
    MUST(me != NULL && pthread_mutex_init(&me->mutex, NULL) == 0);
    me->plans = calloc(plans_count + 1, sizeof(*plans));
    MUST(me->plans != NULL);
    if (plans_count > 0) {
        memcpy(me->plans, plans, plans_count * sizeof(*plans));
    }
    me->plans_count = plans_count;
    me->running = true;
    me->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    me->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    MUST(me->wake >= 0 && me->listener >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(test_loopback())};
    socklen_t bytes = sizeof(address);
    MUST(bind(me->listener, (struct sockaddr *)&address, bytes) == 0);
    MUST(getsockname(me->listener, (struct sockaddr *)&address, &bytes) == 0);
    MUST(listen(me->listener, 64) == 0);
    (void)snprintf(me->endpoint, sizeof(me->endpoint), "relp://%s:%u", inet_ntoa(address.sin_addr),
                   (unsigned)ntohs(address.sin_port));
    MUST(pthread_create(&me->thread, NULL, server_main, me) == 0);
    return me;
}

const char *relp_server_endpoint(const struct relp_server *me)
{
    return me->endpoint;
}

static void server_unlock(struct relp_server *me)
{
    uint64_t one = 1;
    pthread_mutex_unlock(&me->mutex);
    (void)!write(me->wake, &one, sizeof(one));
}

void relp_server_allow(struct relp_server *me, uint64_t answers)
{
    pthread_mutex_lock(&me->mutex);
    me->allowed += answers;
    server_unlock(me);
}

void relp_server_cut(struct relp_server *me)
{
    pthread_mutex_lock(&me->mutex);
    for (size_t i = 0; i < me->connections_count; i++) {
        relp_connection_close(&me->connections[i], false);
    }
    server_unlock(me);
}

void relp_server_stop(struct relp_server *me)
{
    if (me->joined) {
        return;
    }
    pthread_mutex_lock(&me->mutex);
    me->running = false;
    server_unlock(me);
    MUST(pthread_join(me->thread, NULL) == 0);
    me->joined = true;
    for (size_t i = 0; i < me->connections_count; i++) {
        relp_connection_close(&me->connections[i], false);
    }
    (void)close(me->listener);
    (void)close(me->wake);
    me->wake = -1;
}

void relp_server_free(struct relp_server *me)
{
    relp_server_stop(me);
    for (size_t i = 0; i < me->connections_count; i++) {
        relp_connection_free(&me->connections[i]);
    }
    pthread_mutex_destroy(&me->mutex);
    free(me->plans);
    free(me);
}

size_t relp_server_connections(struct relp_server *me)
{
    pthread_mutex_lock(&me->mutex);
    size_t count = me->connections_count;
    pthread_mutex_unlock(&me->mutex);
    return count;
}

void relp_server_look(struct relp_server *me, size_t connection, struct relp_view *view)
{
    pthread_mutex_lock(&me->mutex);
    MUST(connection < me->connections_count);
    *view = me->connections[connection].view;
    pthread_mutex_unlock(&me->mutex);
}

void relp_server_look_all(struct relp_server *me, struct relp_view *view)
{
    *view = (struct relp_view){.ended = true};
    pthread_mutex_lock(&me->mutex);
    for (size_t i = 0; i < me->connections_count; i++) {
        const struct relp_view *one = &me->connections[i].view;
        view->messages += one->messages;
        view->accepted += one->accepted;
        view->refused += one->refused;
        view->raw_accepted += one->raw_accepted;
        view->sent_bytes += one->sent_bytes;
        view->received_bytes += one->received_bytes;
        view->ended = view->ended && one->ended;
        view->wrong = view->wrong != NULL ? view->wrong : one->wrong;
        if (one->unanswered_max > view->unanswered_max) {
            view->unanswered_max = one->unanswered_max;
        }
        if (one->unanswered_bytes_max > view->unanswered_bytes_max) {
            view->unanswered_bytes_max = one->unanswered_bytes_max;
        }
    }
    pthread_mutex_unlock(&me->mutex);
}

void relp_server_message(struct relp_server *me, size_t connection, size_t n,
                         struct relp_frame *frame)
{
    pthread_mutex_lock(&me->mutex);
    MUST(connection < me->connections_count && n < me->connections[connection].view.messages);
    *frame = me->connections[connection].frames[n];
    pthread_mutex_unlock(&me->mutex);
}

bool relp_server_wait_connections(struct relp_server *me, size_t count)
{
    for (int i = 0; i < WAIT_ROUNDS_MAX; i++) {
        if (relp_server_connections(me) >= count) {
            return true;
        }
        (void)poll(NULL, 0, 1);
    }
    return false;
}

bool relp_server_wait_messages(struct relp_server *me, uint64_t count)
{
    for (int i = 0; i < WAIT_ROUNDS_MAX; i++) {
        struct relp_view view;
        relp_server_look_all(me, &view);
        if (view.messages >= count) {
            return true;
        }
        (void)poll(NULL, 0, 1);
    }
    return false;
}

bool relp_server_wait_connection(struct relp_server *me, size_t connection, uint64_t messages)
{
    for (int i = 0; i < WAIT_ROUNDS_MAX; i++) {
        if (relp_server_connections(me) > connection) {
            struct relp_view view;
            relp_server_look(me, connection, &view);
            if (view.messages >= messages) {
                return true;
            }
        }
        (void)poll(NULL, 0, 1);
    }
    return false;
}
