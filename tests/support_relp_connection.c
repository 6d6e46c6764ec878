// One connection of the scripted RELP server: its answers, the client's frames, its rounds.
#include "tests/support_relp_connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support_must.h"
#include "tests/support_relp_frame.h"

#define QUIET_NS UINT64_C(20000000)

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

static void messages_answer(struct connection *one, uint64_t *allowed)
{
    const struct relp_plan *plan = one->plan;
    size_t batch = plan->batch == 0 ? 1 : plan->batch;
    for (;;) {
        size_t waiting = one->view.messages - one->answered;
        size_t count = waiting < batch ? waiting : batch;
        if (count == 0 || (count < batch && now_ns() - one->heard_ns < QUIET_NS)) {
            return;
        }
        if (plan->gated && *allowed < count) {
            count = (size_t)*allowed;
        }
        if (count == 0) {
            return;
        }
        for (size_t i = 0; i < count; i++) {
            message_answer(one, one->answered + (plan->reversed ? count - 1 - i : i));
        }
        one->answered += count;
        *allowed -= plan->gated ? count : 0;
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

void relp_connection_close(struct connection *one, bool reset)
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
        relp_connection_close(one, false);
    } else if (max > 0 && one->view.wrong == NULL && errno != EAGAIN && errno != EINTR) {
        relp_connection_close(one, false);
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
                relp_connection_close(one, false);
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
        relp_connection_close(one, true);
    } else if (one->stage == STAGE_OVER || one->view.wrong != NULL) {
        relp_connection_close(one, false);
    }
}

bool relp_connection_round(struct connection *one, uint64_t *allowed)
{
    bool more = one->fd >= 0 && connection_read(one);
    if (one->stage == STAGE_OPENING) {
        open_step(one);
    }
    if (one->stage == STAGE_OPEN || one->stage == STAGE_CLOSING) {
        messages_answer(one, allowed);
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

bool relp_connection_is_timed(const struct connection *one)
{
    return one->out_sent < one->out.count || one->plan->slow_bytes != 0 || one->reset_wanted ||
           one->plan->stall_bytes != 0 || one->stage == STAGE_OPENING ||
           one->stage == STAGE_CLOSING || one->answered < one->view.messages;
}

void relp_connection_free(struct connection *one)
{
    for (size_t n = 0; n < one->view.messages; n++) {
        free(one->frames[n].data);
    }
    free(one->frames);
    free(one->in.at);
    free(one->out.at);
}
