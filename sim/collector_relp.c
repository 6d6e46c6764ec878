// A collector's RELP sessions: what it answers, when, and how it misbehaves.
//
// Whatever was read is stored: the auditor has it. Never answered is what was not read, as a client
// could not tell that from the truth.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/collector_state.h"
#include "sim/frame.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
// Frames without an answer; no window of a scenario is larger.
#define PENDING_MAX 160
#define OUT_BYTES 1024
#define WORDS_BYTES_MAX 250
// The longest frame of a client's.
#define LENGTH_MAX (1u << 20)
// Between two pieces of an answer.
#define CRUMB_NS_MAX (200 * US)

struct session_frame {
    uint32_t number;
    enum sim_frame_use use;
};

struct collector_session {
    struct sim_frame frame;
    enum sim_manner manner;
    bool late, shuffled, crumbs, wordy; // how it answers otherwise
    bool shown;                         // the manner did what it does once
    bool silent;                        // says nothing more
    uint32_t after;                     // answers until the manner shows
    uint32_t answers;                   // so far, the open's included
    uint32_t refusing;                  // REFUSE_ALL: so many more are refused
    uint64_t due_ns, crumb_ns;          // nothing is said before
    uint64_t close_ns;                  // then the connection is closed, once all is said
    enum sim_end close_how;
    struct session_frame pending[PENDING_MAX];
    uint32_t pending_count;
    uint32_t out_at, out_count;
    unsigned char out[OUT_BYTES];
};

static bool good(const struct sim_collector *me)
{
    return me->healed && !me->options.incorrigible;
}

static bool drawn(const struct sim_collector *me)
{
    return !good(me) && weir_sim_choose(me->sim, WEIR_SIM_PEER, 2) != 0;
}

// One of those it has.
static enum sim_manner manner_draw(const struct sim_collector *me)
{
    uint32_t manners =
        (me->options.manners | 1u << SIM_MANNER_GOOD) & ((1u << SIM_MANNERS_COUNT) - 1);
    uint32_t count = (uint32_t)__builtin_popcount(manners);
    if (good(me) || count == 1) {
        return SIM_MANNER_GOOD;
    }
    bool mended = me->healed; // and no peer's choice will be a bad one any more
    uint32_t index =
        mended ? sim_collector_below(me, count) : weir_sim_choose(me->sim, WEIR_SIM_PEER, count);
    for (; index > 0; index--) {
        manners &= manners - 1;
    }
    return (enum sim_manner)__builtin_ctz(manners);
}

void sim_session_begin(struct sim_collector *me, struct collector_connection *connection)
{
    struct collector_session *session = connection->session;
    if (session == NULL) {
        uint32_t number;
        session = sim_arena_alloc(me->sim->arena, sizeof(*session), 16, false,
                                  SIM_PROCESSES_MAX - 1, &number);
        weir_assert(session != NULL);
        connection->session = session;
    }
    sim_frame_init(&session->frame, WEIR_FRAMING_RELP, NULL, LENGTH_MAX);
    session->manner = manner_draw(me);
    session->late = me->options.unhurried && drawn(me);
    session->shuffled = me->options.unhurried && drawn(me);
    session->crumbs = me->options.unhurried && drawn(me);
    session->wordy = me->options.unhurried && drawn(me);
    session->shown = session->silent = false;
    session->after =
        session->manner == SIM_MANNER_GOOD ? 0 : sim_collector_below(me, me->options.answers_draw);
    session->answers = session->refusing = 0;
    session->due_ns = session->crumb_ns = 0;
    session->close_ns = WEIR_NEVER;
    session->pending_count = session->out_at = session->out_count = 0;
}

// ---- What it reads ----

static void session_add(struct sim_collector *me, struct collector_session *session)
{
    uint64_t now_ns = sim_collector_now(me);
    if (session->pending_count == PENDING_MAX) {
        weir_sim_fail(me->sim, WEIR_SIM_INTERNAL, "collector-cannot",
                      "more than %d frames without an answer", PENDING_MAX);
    }
    if (session->late && session->pending_count == 0 && !good(me)) {
        session->due_ns = now_ns + sim_collector_time(me, me->options.pause_ns);
    }
    if (session->manner == SIM_MANNER_OPEN_LATE && session->frame.use == SIM_FRAME_OPEN) {
        session->due_ns = now_ns + sim_collector_time(me, 10 * me->options.pause_ns);
    }
    me->closes += session->frame.use == SIM_FRAME_CLOSE ? 1 : 0;
    session->pending[session->pending_count++] =
        (struct session_frame){session->frame.number, session->frame.use};
}

void sim_session_read(struct sim_collector *me, struct collector_connection *connection,
                      const unsigned char *bytes, size_t count)
{
    struct collector_session *session = connection->session;
    while (count > 0) {
        size_t used;
        enum sim_frame_result result = sim_frame_feed(&session->frame, bytes, count, &used);
        if (result == SIM_FRAME_BAD) { // the auditor has said so
            session->silent = true;
            return;
        }
        if (result == SIM_FRAME_WHOLE) {
            session_add(me, session);
            sim_frame_next(&session->frame);
        }
        bytes += used;
        count -= used;
    }
}

// ---- What it says ----

__attribute__((format(printf, 2, 3))) static void say(struct collector_session *session,
                                                      const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    uint32_t room = OUT_BYTES - session->out_count;
    int count = vsnprintf((char *)session->out + session->out_count, room, format, arguments);
    va_end(arguments);
    weir_assert(count >= 0 && (uint32_t)count < room);
    session->out_count += (uint32_t)count;
}

static void say_answer(struct collector_session *session, uint32_t number, const char *data)
{
    say(session, "%u rsp %zu %s\n", number, strlen(data), data);
}

static void answer_message(struct sim_collector *me, struct collector_session *session,
                           uint32_t number, bool refuse)
{
    static const char *const refusals[] = {"500 no", "400 rejected", "201 nearly", "999 "};
    char words[WORDS_BYTES_MAX + 8] = "200 OK";
    if (refuse) {
        me->refusals++;
        say_answer(session, number, refusals[sim_collector_below(me, 4)]);
        return;
    }
    uint32_t more = session->wordy && !good(me) ? sim_collector_below(me, WORDS_BYTES_MAX) : 0;
    memset(words + 6, '.', more);
    words[6 + more] = '\0';
    say_answer(session, number, words);
}

static void answer_open(struct sim_collector *me, struct collector_session *session,
                        uint32_t number)
{
    static const char *const others[] = {"200 OK\nrelp_version=0\nrelp_software=other",
                                         "200 OK\nrelp_version=0\ncommands=eventlog",
                                         "200 OK\nrelp_version=7\ncommands=syslog"};
    if (session->manner == SIM_MANNER_OPEN_REFUSED && !good(me)) {
        say_answer(session, number, "500 required command not supported by client");
        session->close_ns = drawn(me) ? 0 : WEIR_NEVER;
        session->close_how = SIM_END_BROKEN;
        session->silent = true;
    } else if (session->manner == SIM_MANNER_OPEN_OTHER && !good(me)) {
        say_answer(session, number, others[sim_collector_below(me, 3)]);
        session->silent = true;
    } else {
        say_answer(session, number,
                   "200 OK\nrelp_version=0\n"
                   "relp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog");
    }
}

static void answer(struct sim_collector *me, struct collector_session *session,
                   struct session_frame frame)
{
    bool refuse = false;
    switch (frame.use) {
    case SIM_FRAME_OPEN: answer_open(me, session, frame.number); break;
    case SIM_FRAME_SYSLOG:
        if (session->refusing > 0 && !good(me)) {
            session->refusing--;
            refuse = true;
        } else if (session->manner == SIM_MANNER_REFUSE && session->answers > session->after &&
                   !good(me)) {
            refuse = sim_collector_below(me, 3) == 0;
        }
        answer_message(me, session, frame.number, refuse);
        break;
    case SIM_FRAME_CLOSE:
        say(session, "%u rsp 0\n0 serverclose 0\n", frame.number);
        session->close_ns = 0;
        session->close_how = SIM_END_ORDERLY;
        session->silent = true;
        break;
    }
    session->answers++;
}

// Each is wrong from one byte on, and no reader could take it for anything else before or after.
static void say_garbage(struct sim_collector *me, struct collector_session *session,
                        uint32_t number)
{
    switch (sim_collector_below(me, 9)) {
    case 0: say(session, "HTTP/1.1 400 Bad Request\r\n\r\n"); break;
    case 1: say(session, "%u rsp 6 200 OKX\n", number); break;
    case 2: say(session, "1234567890 rsp 6 200 OK\n"); break;
    case 3: say(session, "%u  rsp 6 200 OK\n", number); break;
    case 4: say(session, "%u rsp6 200 OK\n", number); break;
    case 5: say(session, "%u\n", number); break;
    case 6: say(session, "%u rsp 6\n200 OK\n", number); break;
    case 7: say(session, "%u anextremelylongcommandnobodyknowsofatall 0\n", number); break;
    default: say(session, "\xff\xfe%u rsp 6 200 OK\n", number);
    }
}

// A number beyond all that the client can have sent: twice its window after one it waits for.
static uint32_t number_never_sent(struct sim_collector *me, uint32_t number)
{
    uint32_t far = 2 * me->options.window_messages + PENDING_MAX + 2;
    return number + far + sim_collector_below(me, 1000);
}

// The manner shows, once, at this frame.  returns  false: and that is all for it.
static bool manner_show(struct sim_collector *me, struct collector_session *session,
                        struct session_frame frame)
{
    uint32_t at = session->out_count;
    session->shown = true;
    switch (session->manner) {
    case SIM_MANNER_GOOD:
    case SIM_MANNER_HINT:
    case SIM_MANNER_REFUSE:
    case SIM_MANNER_OPEN_REFUSED:
    case SIM_MANNER_OPEN_OTHER:
    case SIM_MANNER_OPEN_LATE:
    case SIM_MANNERS_COUNT: break;
    case SIM_MANNER_MUTE: session->silent = true; return false;
    case SIM_MANNER_OPEN_MUTE:
        session->silent = frame.use == SIM_FRAME_OPEN;
        return !session->silent;
    case SIM_MANNER_LEAP: return false;
    case SIM_MANNER_TWICE: answer(me, session, frame); break;
    case SIM_MANNER_NEVER_SENT:
        answer_message(me, session, number_never_sent(me, frame.number), false);
        break;
    case SIM_MANNER_GARBAGE:
        say_garbage(me, session, frame.number);
        session->silent = true;
        return false;
    case SIM_MANNER_TORN:
        answer(me, session, frame);
        session->out_count = at + (session->out_count - at) / 2;
        session->close_ns = 0;
        session->close_how = SIM_END_BROKEN;
        session->silent = true;
        return false;
    case SIM_MANNER_GOODBYE:
        say(session, "0 serverclose 0\n");
        session->close_ns =
            drawn(me)   ? WEIR_NEVER
            : drawn(me) ? sim_collector_now(me) + sim_collector_time(me, me->options.pause_ns)
                        : 0;
        session->close_how = SIM_END_BROKEN;
        session->silent = true;
        return false;
    case SIM_MANNER_REFUSE_ALL:
        session->refusing = 1 + sim_collector_below(me, me->options.answers_draw);
        break;
    }
    return true;
}

// The next frame to be answered, taken from those that wait.
static struct session_frame session_take(struct sim_collector *me,
                                         struct collector_session *session)
{
    uint32_t messages = 0;
    while (messages < session->pending_count &&
           session->pending[messages].use == SIM_FRAME_SYSLOG) {
        messages++;
    }
    bool any = session->shuffled && messages > 1 && !good(me);
    uint32_t index = any ? sim_collector_below(me, messages) : 0;
    struct session_frame frame = session->pending[index];
    session->pending_count--;
    memmove(session->pending + index, session->pending + index + 1,
            (session->pending_count - index) * sizeof(frame));
    return frame;
}

static void session_compose(struct sim_collector *me, struct collector_session *session)
{
    struct session_frame frame = session_take(me, session);
    session->out_at = session->out_count = 0;
    bool shows = !good(me) && !session->shown && session->answers >= session->after &&
                 frame.use != SIM_FRAME_CLOSE;
    if (shows && !manner_show(me, session, frame)) {
        return;
    }
    if (session->manner == SIM_MANNER_HINT && !good(me) && sim_collector_below(me, 2) == 0) {
        say(session, "0 %s\n", session->answers % 2 == 0 ? "pause 3 now" : "resume 0");
    }
    answer(me, session, frame);
}

// returns  false: the socket takes no more for now.
static bool session_flush(struct sim_collector *me, struct collector_connection *connection)
{
    struct collector_session *session = connection->session;
    uint32_t left = session->out_count - session->out_at;
    bool crumb = session->crumbs && !good(me);
    uint32_t part = crumb ? 1 + sim_collector_below(me, left) : left;
    struct weir_iovec bytes = {session->out + session->out_at, part};
    int64_t sent = me->os->socket_send(me->os->self, connection->fd, &bytes, 1);
    if (sent < 0) {
        connection->reset = connection->reset || (sent != -EAGAIN && sent != -EINTR);
        session->silent = session->silent || connection->reset;
        session->out_at = connection->reset ? session->out_count : session->out_at;
        return sent != -EAGAIN;
    }
    session->out_at += (uint32_t)sent;
    session->crumb_ns = crumb ? sim_collector_now(me) + sim_collector_time(me, CRUMB_NS_MAX) : 0;
    return true;
}

uint64_t sim_session_speak(struct sim_collector *me, struct collector_connection *connection)
{
    struct collector_session *session = connection->session;
    for (;;) {
        uint64_t now_ns = sim_collector_now(me);
        uint64_t due_ns = session->crumb_ns;
        if (session->out_at < session->out_count) {
            if (due_ns > now_ns && !good(me)) {
                return due_ns;
            }
            if (!session_flush(me, connection)) {
                return WEIR_NEVER; // an event will tell
            }
            continue;
        }
        if (session->close_ns <= now_ns) {
            sim_connection_close(me, connection, session->close_how);
            return WEIR_NEVER;
        }
        if (session->silent || session->pending_count == 0) {
            return session->close_ns;
        }
        due_ns = session->due_ns > due_ns ? session->due_ns : due_ns;
        if (due_ns > now_ns && !good(me)) {
            return due_ns;
        }
        session_compose(me, session);
    }
}
