// The RELP session of a writer.
#include "writer/session.h"

#include <errno.h>

#include "runtime/cold.h"
#include "writer/link.h"
#include "writer/watch.h"

#define MS UINT64_C(1000000)
// The number of the frame that opens a session.
#define OPEN_NUMBER 1u
// Once everything is answered the server has so long to end the session: it would otherwise meet
// the end of the connection as an error.
#define CLOSE_NS (1000 * MS)
// Reads of what a dead connection has left: more than a window's answers.
#define SETTLE_READS_MAX 64

// ---- Frames of its own ----

void weir_session_begin(struct weir_writer *me)
{
    struct weir_session *session = &me->session;
    session->state = WEIR_SESSION_NONE;
    if (!me->plan->relp) {
        return;
    }
    session->state = WEIR_SESSION_OPENING;
    session->parser = (struct weir_relp_parser){0};
    session->received_bytes = 0;
    session->frame_bytes = (uint32_t)weir_relp_open_write(session->frame, OPEN_NUMBER);
    session->frame_sent = 0;
    weir_relp_window_init(&session->window, OPEN_NUMBER);
    me->transit.limit = me->transit.start;
}

bool weir_session_unsent(const struct weir_writer *me)
{
    return me->session.state != WEIR_SESSION_NONE &&
           me->session.frame_sent < me->session.frame_bytes;
}

void weir_session_send(struct weir_writer *me)
{
    struct weir_session *session = &me->session;
    struct weir_iovec part = {session->frame + session->frame_sent,
                              session->frame_bytes - session->frame_sent};
    int64_t sent = me->os->socket_send(me->os->self, me->stream.fd, &part, 1);
    if (sent <= 0) {
        weir_link_send_failed(me, sent == 0 ? -EAGAIN : (int)sent);
        return;
    }
    session->frame_sent += (uint32_t)sent;
    weir_counter_add(&me->counters.sends, 1);
    weir_counter_add(&me->counters.sent_bytes, (uint64_t)sent);
}

void weir_session_shut(struct weir_writer *me)
{
    struct weir_session *session = &me->session;
    session->state = WEIR_SESSION_CLOSING;
    session->close_number = weir_relp_window_next(&session->window);
    session->frame_bytes = (uint32_t)weir_relp_close_write(session->frame, session->close_number);
    session->frame_sent = 0;
    weir_session_send(me);
}

// ---- Messages ----

// The time for the next answer begins.
static void session_expect(struct weir_writer *me)
{
    bool waits = me->transit.sent > me->transit.confirmed; // what was admitted may not be sent yet
    me->alarms[WEIR_ALARM_ANSWER] =
        waits ? me->now_ns + me->plan->answer_timeout_ms * MS : WEIR_NEVER;
}

void weir_session_admit(struct weir_writer *me)
{
    struct weir_transit *transit = &me->transit;
    struct weir_relp_window *window = &me->session.window;
    if (me->session.state != WEIR_SESSION_OPEN || weir_probe_up(me)) {
        return;
    }
    unsigned char *frame;
    uint32_t bytes;
    while (window->count < me->plan->window_messages &&
           weir_transit_frame(transit, transit->limit, &frame, &bytes)) {
        if (window->count > 0 &&
            transit->limit + bytes - transit->confirmed > me->plan->window_bytes) {
            break;
        }
        weir_relp_number_write(frame, weir_relp_window_add(window));
        transit->limit += bytes;
    }
    if (me->alarms[WEIR_ALARM_ANSWER] == WEIR_NEVER) {
        session_expect(me);
    }
}

// ---- Answers ----

WEIR_COLD static void session_violated(struct weir_writer *me, const char *reason)
{
    me->session.state = WEIR_SESSION_OVER;
    me->session.reason = reason;
    weir_link_break(me, WEIR_FAULT_PROTOCOL);
}

WEIR_COLD static void session_open_answered(struct weir_writer *me)
{
    struct weir_session *session = &me->session;
    if (session->parser.number != OPEN_NUMBER) {
        session_violated(me, "an answer to a frame that was not sent");
        return;
    }
    const char *refused = weir_relp_open_refused(&session->parser);
    session->state = refused == NULL ? WEIR_SESSION_OPEN : WEIR_SESSION_OVER;
    session->reason = refused;
    if (refused != NULL) {
        weir_link_break(me, WEIR_FAULT_REFUSED);
    }
}

static void session_answered(struct weir_writer *me)
{
    struct weir_session *session = &me->session;
    const struct weir_relp_parser *answer = &session->parser;
    if (session->state == WEIR_SESSION_OPENING) {
        session_open_answered(me);
    } else if (session->state == WEIR_SESSION_CLOSING && answer->number == session->close_number) {
        session->state = WEIR_SESSION_OVER;
    } else if (!weir_relp_window_answer(&session->window, answer->number, answer->code == 200)) {
        session_violated(me, "an answer to a frame that waited for none");
    }
}

// The first message that is not confirmed, up to `end`, was refused.
//   returns  false: the connection is given up for it.
WEIR_COLD static bool session_refused(struct weir_writer *me, uint64_t end)
{
    if (me->plan->refused == WEIR_REFUSED_RETRY) {
        me->session.state = WEIR_SESSION_OVER;
        me->session.reason = "a message was refused";
        weir_link_break(me, WEIR_FAULT_REFUSED);
        return false;
    }
    weir_watch_fault(me, WEIR_FAULT_REFUSED);
    weir_transit_refuse(&me->transit, end, me->now_ns);
    weir_watch_tell(me);
    return true;
}

// Confirms, or drops, what is answered at the front of the window. Answers further back wait until
// those before them have come.
static void session_confirm(struct weir_writer *me)
{
    struct weir_relp_window *window = &me->session.window;
    uint64_t position = me->transit.confirmed;
    uint32_t before = window->count;
    enum weir_relp_answer answer;
    while ((answer = weir_relp_window_oldest(window)) != WEIR_RELP_WAITING) {
        uint64_t end = weir_transit_boundary(&me->transit, position + 1);
        if (end > me->transit.sent) {
            session_violated(me, "an answer to a frame that was not sent yet");
            break;
        }
        if (answer == WEIR_RELP_REFUSED) {
            weir_watch_confirm(me, position);
            if (!session_refused(me, end)) {
                return;
            }
        }
        weir_relp_window_pop(window);
        position = end;
    }
    weir_watch_confirm(me, position);
    if (window->count != before) {
        session_expect(me);
    }
}

void weir_session_read(struct weir_writer *me, const unsigned char *bytes, size_t bytes_count)
{
    struct weir_session *session = &me->session;
    size_t used;
    session->received_bytes += bytes_count;
    for (; bytes_count > 0; bytes += used, bytes_count -= used) {
        if (session->state == WEIR_SESSION_NONE || session->state == WEIR_SESSION_OVER) {
            break; // nothing more is of interest; but what was answered before that is
        }
        switch (weir_relp_parse(&session->parser, bytes, bytes_count, &used)) {
        case WEIR_RELP_NOTHING:
        case WEIR_RELP_HINT: break;
        case WEIR_RELP_ANSWER: session_answered(me); break;
        case WEIR_RELP_CLOSE:
            session_confirm(me);
            session->state = WEIR_SESSION_OVER;
            session->reason = "the server closed the session";
            if (me->machine != WEIR_STATE_DRAINING) {
                weir_link_break(me, WEIR_FAULT_PEER_CLOSED);
            }
            break;
        case WEIR_RELP_VIOLATION: session_violated(me, weir_relp_reason(&session->parser)); break;
        }
    }
    session_confirm(me);
}

// ---- The end ----

bool weir_session_proof(struct weir_writer *me)
{
    bool over = me->peer_ended || me->session.state == WEIR_SESSION_OVER;
    if (me->session.window.count > 0) {
        if (over) { // it ended, but not with everything
            weir_link_break(me, WEIR_FAULT_PEER_CLOSED);
        }
        return false;
    }
    if (me->alarms[WEIR_ALARM_LINGER] == WEIR_NEVER) {
        me->alarms[WEIR_ALARM_LINGER] = me->now_ns + CLOSE_NS;
    }
    return over || me->now_ns >= me->alarms[WEIR_ALARM_LINGER];
}

void weir_session_settle(struct weir_writer *me)
{
    unsigned char bytes[4096];
    for (uint32_t i = 0; i < SETTLE_READS_MAX && me->session.state >= WEIR_SESSION_OPEN &&
                         me->session.state != WEIR_SESSION_OVER;
         i++) {
        int64_t count = me->os->socket_recv(me->os->self, me->stream.fd, bytes, sizeof(bytes));
        if (count <= 0 && count != -EINTR) {
            break;
        }
        if (count > 0) {
            weir_counter_add(&me->counters.received_bytes, (uint64_t)count);
            weir_session_read(me, bytes, (size_t)count);
        }
    }
    me->session.reason = NULL; // it was told
}
