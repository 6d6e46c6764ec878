// The scripted RELP server of support_relp.h.
#include "tests/support_relp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support_loopback.h"
#include "tests/support_relp_frame.h"

#define CONNECTIONS_MAX 1024
#define WAIT_ROUNDS_MAX 20000
#define QUIET_NS UINT64_C(20000000)

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "relp server: %s fails (%s)\n", #condition, strerror(errno));          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum stage {
    STAGE_FRESH,   // `open` has not come
    STAGE_OPENING, // it waits for its answer
    STAGE_OPEN,
    STAGE_CLOSING, // `close` has come
    STAGE_MUTE,    // its plan has ended it: reads on, answers nothing
    STAGE_OVER     // what is to be sent is sent, and then it is closed
};

struct bytes {
    unsigned char *at;
    size_t count, max;
};

struct connection {
    int fd; // -1: closed
    const struct relp_plan *plan;
    enum stage stage;
    bool then_done, reset_wanted;
    struct bytes in, out;
    size_t out_sent;
    uint64_t due_ns;   // a late answer's
    uint64_t heard_ns; // when the last message came
    struct relp_frame *frames;
    size_t frames_max, answered; // frames before this one had their turn
    size_t unanswered_bytes;
    uint32_t next_number;
    struct relp_view view;
};

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

static uint64_t now_ns(void)
{
    struct timespec now;
    MUST(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void bytes_add(struct bytes *bytes, const void *from, size_t count)
{
    if (bytes->count + count > bytes->max) {
        bytes->max = 2 * (bytes->count + count);
        bytes->at = realloc(bytes->at, bytes->max);
        MUST(bytes->at != NULL);
    }
    memcpy(bytes->at + bytes->count, from, count);
    bytes->count += count;
}

static void bytes_remove(struct bytes *bytes, size_t count)
{
    if (count > 0) {
        memmove(bytes->at, bytes->at + count, bytes->count - count);
        bytes->count -= count;
    }
}

// ---- Answers ----

static void say(struct connection *one, const char *text)
{
    bytes_add(&one->out, text, strlen(text));
}

static void answer(struct connection *one, uint32_t number, const char *data)
{
    char head[48];
    (void)snprintf(head, sizeof(head), "%u rsp %zu%s", number, strlen(data),
                   data[0] != '\0' ? " " : "");
    say(one, head);
    say(one, data);
    say(one, "\n");
}

#define OFFER "\nrelp_version=%s\nrelp_software=test,1.0\ncommands=%s"

static void open_answer(struct connection *one, const char *version, const char *commands)
{
    char data[256];
    (void)snprintf(data, sizeof(data), "200 OK" OFFER, version, commands);
    answer(one, 1, data);
}

static void open_step(struct connection *one)
{
    if (one->plan->open == RELP_OPEN_LATE && now_ns() < one->due_ns) {
        return;
    }
    one->stage = STAGE_OPEN;
    switch (one->plan->open) {
    case RELP_OPEN_OK:
    case RELP_OPEN_LATE: open_answer(one, "0", "syslog"); break;
    case RELP_OPEN_REFUSED: answer(one, 1, "500 required command not supported by client"); break;
    case RELP_OPEN_VERSION: open_answer(one, "7", "syslog"); break;
    case RELP_OPEN_NO_SYSLOG: open_answer(one, "0", "starttls"); break;
    case RELP_OPEN_NEVER: one->stage = STAGE_MUTE; break;
    case RELP_OPEN_RAW: say(one, one->plan->raw); break;
    case RELP_OPEN_TORN:
        open_answer(one, "0", "syslog");
        one->out.count /= 2;
        one->stage = STAGE_MUTE;
        break;
    }
}

static void close_step(struct connection *one)
{
    if (one->plan->close == RELP_CLOSE_LATE && now_ns() < one->due_ns) {
        return;
    }
    one->stage = STAGE_MUTE;
    switch (one->plan->close) {
    case RELP_CLOSE_OK:
    case RELP_CLOSE_LATE:
        answer(one, one->view.close_number, "");
        say(one, "0 serverclose 0\n");
        one->stage = STAGE_OVER;
        break;
    case RELP_CLOSE_NEVER: break;
    case RELP_CLOSE_END: one->stage = STAGE_OVER; break;
    case RELP_CLOSE_RESET: one->reset_wanted = true; break;
    case RELP_CLOSE_ANSWER: answer(one, one->view.close_number, ""); break;
    case RELP_CLOSE_GARBAGE: say(one, "no such thing\n"); break;
    }
}

static const char *text_or(const char *text, const char *other)
{
    return text != NULL ? text : other;
}

// The turn of message `index` to be answered.
static void message_answer(struct connection *one, size_t index)
{
    const struct relp_plan *plan = one->plan;
    struct relp_frame *frame = &one->frames[index];
    uint32_t n = (uint32_t)index + 1;
    if (plan->mute_from != 0 && n >= plan->mute_from) {
        // Not answered, and waiting for ever.
    } else if (n == plan->refuse_at || (plan->refuse_from != 0 && n >= plan->refuse_from)) {
        frame->verdict = 500;
        one->view.refused++;
        one->unanswered_bytes -= frame->frame_bytes;
        answer(one, frame->number, text_or(plan->refuse, "500 no room"));
    } else {
        frame->verdict = 200;
        one->view.accepted++;
        one->unanswered_bytes -= frame->frame_bytes;
        answer(one, frame->number, text_or(plan->accept, "200 OK"));
    }
    if (plan->open != RELP_OPEN_RAW && plan->raw != NULL && n == plan->raw_at) {
        one->view.raw_accepted += plan->raw_accepts;
        say(one, plan->raw);
    }
}

static void messages_answer(struct relp_server *me, struct connection *one)
{
    const struct relp_plan *plan = one->plan;
    size_t batch = plan->batch == 0 ? 1 : plan->batch;
    for (;;) {
        size_t waiting = one->view.messages - one->answered;
        size_t count = waiting < batch ? waiting : batch;
        if (count == 0 || (count < batch && now_ns() - one->heard_ns < QUIET_NS)) {
            return;
        }
        if (plan->gated && me->allowed < count) {
            count = (size_t)me->allowed;
        }
        if (count == 0) {
            return;
        }
        for (size_t i = 0; i < count; i++) {
            message_answer(one, one->answered + (plan->reversed ? count - 1 - i : i));
        }
        one->answered += count;
        me->allowed -= plan->gated ? count : 0;
    }
}

// ---- The client's frames ----

static void message_keep(struct connection *one, const struct relp_found *found)
{
    if (one->view.messages == one->frames_max) {
        one->frames_max = 2 * one->frames_max + 64;
        one->frames = realloc(one->frames, one->frames_max * sizeof(*one->frames));
        MUST(one->frames != NULL);
    }
    struct relp_frame *frame = &one->frames[one->view.messages++];
    *frame = (struct relp_frame){.number = found->number,
                                 .data_bytes = found->data_bytes,
                                 .frame_bytes = found->frame_bytes,
                                 .data = malloc(found->data_bytes + 1)};
    MUST(frame->data != NULL);
    memcpy(frame->data, found->data, found->data_bytes);
    frame->data[found->data_bytes] = '\0';
    one->heard_ns = now_ns();
    one->unanswered_bytes += found->frame_bytes;
    uint32_t unanswered = one->view.messages - one->view.accepted - one->view.refused;
    if (unanswered > one->view.unanswered_max) {
        one->view.unanswered_max = unanswered;
    }
    if (one->unanswered_bytes > one->view.unanswered_bytes_max) {
        one->view.unanswered_bytes_max = one->unanswered_bytes;
    }
}

static const char *frame_take(struct connection *one, const struct relp_found *found)
{
    if (found->number != ++one->next_number) {
        return "a number out of turn";
    }
    if (one->view.close_number != 0) {
        return "a frame behind `close`";
    }
    if (one->stage == STAGE_FRESH) {
        one->stage = STAGE_OPENING;
        one->due_ns = now_ns() + one->plan->open_late_ms * UINT64_C(1000000);
        return relp_frame_is(found, "open") ? NULL : "the first frame is not `open`";
    }
    if (one->stage == STAGE_OPENING) {
        return "a frame before `open` is answered";
    }
    if (one->plan->open != RELP_OPEN_OK && one->plan->open != RELP_OPEN_LATE) {
        return "a frame after a bad answer to `open`";
    }
    if (relp_frame_is(found, "syslog")) {
        message_keep(one, found);
        return found->data_bytes > 0 ? NULL : "an empty message";
    }
    one->view.close_number = found->number;
    one->due_ns = now_ns() + one->plan->open_late_ms * UINT64_C(1000000);
    if (one->stage == STAGE_OPEN) {
        one->stage = STAGE_CLOSING;
    }
    if (!relp_frame_is(found, "close")) {
        return "a command that nobody knows";
    }
    return found->data_bytes == 0 ? NULL : "`close` with data";
}

static void frames_take(struct connection *one)
{
    size_t used = 0;
    while (one->view.wrong == NULL && used < one->in.count) {
        struct relp_found found;
        one->view.wrong = relp_frame_find(one->in.at + used, one->in.count - used, &found);
        if (one->view.wrong != NULL || found.frame_bytes == 0) {
            break;
        }
        used += found.frame_bytes;
        one->view.wrong = frame_take(one, &found);
    }
    bytes_remove(&one->in, used);
    one->view.torn_bytes = one->in.count;
}

// ---- Rounds ----

static void connection_close(struct connection *one, bool reset)
{
    if (one->fd >= 0) {
        struct linger linger = {.l_onoff = reset ? 1 : 0};
        (void)setsockopt(one->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        (void)close(one->fd);
        one->fd = -1;
    }
}

// returns  whether another could bring more.
static bool connection_read(struct connection *one)
{
    unsigned char bytes[65536];
    size_t max = sizeof(bytes);
    if (one->plan->slow_bytes != 0 && one->plan->slow_bytes < max) {
        max = one->plan->slow_bytes;
    }
    if (one->plan->stall_bytes != 0 && one->plan->stall_bytes - one->view.received_bytes < max) {
        max = one->plan->stall_bytes - (size_t)one->view.received_bytes;
    }
    ssize_t count = max == 0 || one->view.wrong != NULL ? -1 : recv(one->fd, bytes, max, 0);
    if (count > 0) {
        size_t head = (size_t)one->view.received_bytes;
        if (head < sizeof(one->view.head) - 1) {
            size_t room = sizeof(one->view.head) - 1 - head;
            memcpy(one->view.head + head, bytes, (size_t)count < room ? (size_t)count : room);
        }
        one->view.received_bytes += (uint64_t)count;
        bytes_add(&one->in, bytes, (size_t)count);
        frames_take(one);
        return one->plan->slow_bytes == 0;
    }
    if (count == 0) {
        one->view.ended = true;
        connection_close(one, false);
    } else if (max > 0 && one->view.wrong == NULL && errno != EAGAIN && errno != EINTR) {
        connection_close(one, false);
    }
    return false;
}

static void connection_write(struct connection *one)
{
    while (one->fd >= 0 && one->out_sent < one->out.count) {
        size_t left = one->plan->single_bytes ? 1 : one->out.count - one->out_sent;
        ssize_t count = send(one->fd, one->out.at + one->out_sent, left, MSG_NOSIGNAL);
        if (count <= 0) {
            if (errno != EAGAIN && errno != EINTR) {
                connection_close(one, false);
            }
            return;
        }
        one->out_sent += (size_t)count;
        one->view.sent_bytes += (uint64_t)count;
        if (one->plan->single_bytes) {
            return;
        }
    }
}

static void connection_then(struct connection *one)
{
    const struct relp_plan *plan = one->plan;
    if (one->then_done || plan->then == RELP_GO_ON || one->stage == STAGE_FRESH ||
        one->stage == STAGE_OPENING || one->view.messages < plan->then_received ||
        one->view.accepted + one->view.refused < plan->then_answered) {
        return;
    }
    one->then_done = true;
    if (one->stage == STAGE_OPEN) {
        one->stage = STAGE_MUTE;
    }
    switch (plan->then) {
    case RELP_GO_ON: break;
    case RELP_SERVERCLOSE: say(one, "0 serverclose 0\n"); break;
    case RELP_HALF_CLOSE:
        connection_write(one);
        (void)shutdown(one->fd, SHUT_WR);
        break;
    case RELP_CLOSE: one->stage = STAGE_OVER; break;
    case RELP_RESET: one->reset_wanted = true; break;
    }
}

static void connection_end(struct connection *one)
{
    int unacknowledged = 0;
    if (one->fd < 0 || one->out_sent < one->out.count) {
        return;
    }
    (void)ioctl(one->fd, SIOCOUTQ, &unacknowledged);
    if (one->reset_wanted && unacknowledged == 0) {
        connection_close(one, true);
    } else if (one->stage == STAGE_OVER || one->view.wrong != NULL) {
        connection_close(one, false);
    }
}

static bool connection_round(struct relp_server *me, struct connection *one)
{
    bool more = one->fd >= 0 && connection_read(one);
    if (one->stage == STAGE_OPENING) {
        open_step(one);
    }
    if (one->stage == STAGE_OPEN || one->stage == STAGE_CLOSING) {
        messages_answer(me, one);
    }
    connection_then(one);
    if (one->stage == STAGE_CLOSING && one->answered == one->view.messages) {
        close_step(one);
    }
    if (one->fd >= 0) {
        connection_write(one);
        connection_end(one);
    }
    return more;
}

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
            more = connection_round(me, &me->connections[i]) || more;
        }
    }
    return more;
}

// Whether a connection has something to do that no descriptor tells of; or is not to be read.
static bool is_timed(const struct connection *one)
{
    return one->out_sent < one->out.count || one->plan->slow_bytes != 0 || one->reset_wanted ||
           one->plan->stall_bytes != 0 || one->stage == STAGE_OPENING ||
           one->stage == STAGE_CLOSING || one->answered < one->view.messages;
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
            if (one->fd >= 0 && is_timed(one)) {
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
    (void)snprintf(me->endpoint, sizeof(me->endpoint), "relp://%s:%u",
                   inet_ntoa(address.sin_addr), (unsigned)ntohs(address.sin_port));
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
        connection_close(&me->connections[i], false);
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
        connection_close(&me->connections[i], false);
    }
    (void)close(me->listener);
    (void)close(me->wake);
    me->wake = -1;
}

void relp_server_free(struct relp_server *me)
{
    relp_server_stop(me);
    for (size_t i = 0; i < me->connections_count; i++) {
        struct connection *one = &me->connections[i];
        for (size_t n = 0; n < one->view.messages; n++) {
            free(one->frames[n].data);
        }
        free(one->frames);
        free(one->in.at);
        free(one->out.at);
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
