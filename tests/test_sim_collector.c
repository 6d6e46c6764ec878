// Tests of sim/collector.h: a RELP server, as a client that speaks by hand meets it.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "sim/collector.h"
#include "sim/message.h"
#include "sim/sim.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define BYTES 30
#define MESSAGES 2
#define PAUSE_NS (7 * MS)
#define WINDOW 8
// Of the collector's process, which the scenario starts first: whose decisions are deviated.
#define COLLECTOR 1
// How many decisions of its kind a connection takes before these.
#define PEER_MANNER 1
#define PEER_LATE 2
#define PEER_SHUFFLED 3
#define PEER_CRUMBS 4
#define PEER_WORDY 5

#define OPENED                                                                                     \
    "1 rsp 93 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\n"   \
    "commands=syslog\n"

// What is expected of the run under way, and what came of it.
static struct {
    const char *answers;
    bool ends;           // the server closes
    bool closes;         // the client says `close`
    uint64_t least_ns;   // it takes so long until the first answer
    uint32_t recvs_more; // it comes in more pieces than this
} expected;

struct desk {
    struct weir_sim *sim;
    const struct weir_os *os;
    struct sim_auditor *auditor;
    struct sim_collector *collector;
    int fd;
    char heard[2000];
    size_t heard_bytes;
    uint32_t recvs;
    bool ended;
};

static void desk_report(void *context, const char *name, const char *message)
{
    struct desk *desk = context;
    weir_sim_fail(desk->sim, WEIR_SIM_SAFETY, name, "%s", message);
}

static void desk_open(struct desk *desk, struct weir_sim *sim)
{
    struct sim_auditor_options audit = {.arena = sim->arena,
                                        .fail = desk_report,
                                        .context = desk,
                                        .promise = SIM_PROMISE_ANSWERED,
                                        .framing = WEIR_FRAMING_RELP,
                                        .window_messages = WINDOW,
                                        .window_bytes = 10000,
                                        .writers_count = 1,
                                        .producers_count = 1,
                                        .messages_max = MESSAGES,
                                        .record_bytes_max = 300};
    *desk = (struct desk){.sim = sim, .os = weir_sim_os(sim)};
    desk->auditor = sim_auditor_create(&audit);
    struct sim_collector_options options = {.auditor = desk->auditor,
                                            .kind = SIM_COLLECTOR_RELP,
                                            .host = "10.0.0.1",
                                            .port = 20514,
                                            .habits = 1u << SIM_HABIT_GREEDY,
                                            .manners = UINT32_MAX,
                                            .window_messages = WINDOW,
                                            .answers_draw = 8,
                                            .unhurried = true,
                                            .pause_ns = PAUSE_NS,
                                            .rest_ns = MS};
    desk->collector = sim_collector_open(sim, &options);
    weir_sim_sleep(sim, MS);
    struct weir_address address = sim_collector_address(options.kind, NULL, "10.0.0.1", 20514);
    desk->fd = desk->os->socket_open(desk->os->self, AF_INET, SOCK_STREAM);
    (void)desk->os->socket_connect(desk->os->self, desk->fd, &address);
    (void)weir_sim_wait(sim, desk->fd, WEIR_WRITABLE, weir_sim_now_ns(sim) + SECOND);
}

static void desk_say(struct desk *desk, const void *bytes, size_t count)
{
    struct weir_iovec part = {bytes, count};
    int64_t sent = desk->os->socket_send(desk->os->self, desk->fd, &part, 1);
    weir_sim_check(desk->sim, sent == (int64_t)count, "client-sends");
}

// Messages, in one piece.
static void desk_log(struct desk *desk)
{
    unsigned char frames[MESSAGES * (BYTES + 20)];
    size_t count = 0;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct sim_message message = {0, i, BYTES, false};
        sim_auditor_offer(desk->auditor, 0, i, BYTES);
        sim_auditor_answer(desk->auditor, 0, i, 0);
        count += (size_t)sprintf((char *)frames + count, "%u syslog %d ", i + 2, BYTES);
        sim_message_write(&message, frames + count);
        count += BYTES;
        frames[count++] = '\n';
    }
    desk_say(desk, frames, count);
}

// Until nothing has come for a second, or the end.
static void desk_hear(struct desk *desk)
{
    while (!desk->ended) {
        uint64_t deadline_ns = weir_sim_now_ns(desk->sim) + SECOND;
        if (weir_sim_wait(desk->sim, desk->fd, WEIR_READABLE, deadline_ns) == 0) {
            return;
        }
        int64_t count =
            desk->os->socket_recv(desk->os->self, desk->fd, desk->heard + desk->heard_bytes,
                                  sizeof(desk->heard) - 1 - desk->heard_bytes);
        desk->ended = count == 0 || (count < 0 && count != -EAGAIN && count != -EINTR);
        desk->heard_bytes += count > 0 ? (size_t)count : 0;
        desk->recvs += count > 0 ? 1 : 0;
    }
}

static void body(struct weir_sim *sim)
{
    struct desk desk;
    static const char open[] = "1 open 30 relp_version=0\ncommands=syslog\n";
    desk_open(&desk, sim);
    uint64_t begin_ns = weir_sim_now_ns(sim);
    desk_say(&desk, open, sizeof(open) - 1);
    (void)weir_sim_wait(sim, desk.fd, WEIR_READABLE, begin_ns + SECOND);
    weir_sim_check(sim, weir_sim_now_ns(sim) - begin_ns >= expected.least_ns, "too-soon");
    desk_log(&desk);
    if (expected.closes) {
        desk_say(&desk, "4 close 0\n", 10);
    }
    desk_hear(&desk);
    desk.heard[desk.heard_bytes] = '\0';
    if (strcmp(desk.heard, expected.answers) != 0) {
        weir_sim_fail(sim, WEIR_SIM_SAFETY, "other-answers", "%s", desk.heard);
    }
    weir_sim_check(sim, desk.ended == expected.ends, "end");
    weir_sim_check(sim, desk.recvs > expected.recvs_more || expected.recvs_more == 0, "pieces");
    struct sim_auditor_counts counts;
    sim_auditor_count(desk.auditor, &counts);
    weir_sim_check(sim, counts.read == MESSAGES, "stored");
    weir_sim_check(sim, sim_collector_accepts(desk.collector) == 1, "accepts");
    weir_sim_check(sim, sim_collector_closes(desk.collector) == expected.closes, "closes");
    (void)desk.os->socket_close(desk.os->self, desk.fd);
    weir_sim_check(sim, sim_collector_drain(desk.collector, SECOND), "drained");
    sim_collector_close(desk.collector);
}

static void meet(const struct weir_sim_deviation *deviations, size_t count, const char *answers)
{
    static const struct weir_sim_deviation none;
    struct weir_sim *simulator = weir_sim_create();
    struct weir_sim_scenario scenario = {.name = "collector", .about = "a test", .run = body};
    struct weir_sim_options options = {.deviations = count == 0 ? &none : deviations,
                                       .deviations_count = count};
    struct weir_sim_result result;
    expected.answers = answers;
    weir_sim_run(simulator, &scenario, &options, &result);
    if (result.verdict != WEIR_SIM_PASS) {
        fprintf(stderr, "%s: %s\n", result.name, result.message);
    }
    assert_int_equal(result.verdict, WEIR_SIM_PASS);
    assert_int_equal(result.deviations_count, count);
    weir_sim_destroy(simulator);
    memset(&expected, 0, sizeof(expected));
}

// The manner shows after so many answers.
static void meet_manner(enum sim_manner manner, uint32_t after, const char *answers)
{
    struct weir_sim_deviation deviations[] = {
        {WEIR_SIM_PEER, COLLECTOR, PEER_MANNER, manner},
        {WEIR_SIM_WORK, COLLECTOR, 0, after},
    };
    meet(deviations, after == 0 ? 1 : 2, answers);
}

static void good(void **unused)
{
    (void)unused;
    meet(NULL, 0, OPENED "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
    expected.closes = expected.ends = true;
    meet(NULL, 0, OPENED "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 0\n0 serverclose 0\n");
}

static void silent(void **unused)
{
    (void)unused;
    meet_manner(SIM_MANNER_MUTE, 0, "");
    meet_manner(SIM_MANNER_MUTE, 1, OPENED);
    meet_manner(SIM_MANNER_MUTE, 2, OPENED "2 rsp 6 200 OK\n");
    meet_manner(SIM_MANNER_LEAP, 1, OPENED "3 rsp 6 200 OK\n");
    meet_manner(SIM_MANNER_OPEN_MUTE, 0, "");
    expected.least_ns = 10 * PAUSE_NS;
    meet_manner(SIM_MANNER_OPEN_LATE, 0, OPENED "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
}

static void hostile(void **unused)
{
    (void)unused;
    meet_manner(SIM_MANNER_TWICE, 1, OPENED "2 rsp 6 200 OK\n2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
    meet_manner(SIM_MANNER_NEVER_SENT, 1,
                OPENED "180 rsp 6 200 OK\n2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
    meet_manner(SIM_MANNER_GARBAGE, 1, OPENED "HTTP/1.1 400 Bad Request\r\n\r\n");
    expected.ends = true;
    meet_manner(SIM_MANNER_TORN, 1, OPENED "2 rsp 6");
    expected.ends = true;
    meet_manner(SIM_MANNER_GOODBYE, 2, OPENED "2 rsp 6 200 OK\n0 serverclose 0\n");
    meet_manner(SIM_MANNER_HINT, 0,
                "0 pause 3 now\n" OPENED "0 resume 0\n2 rsp 6 200 OK\n"
                "0 pause 3 now\n3 rsp 6 200 OK\n");
}

static void refusing(void **unused)
{
    (void)unused;
    meet_manner(SIM_MANNER_REFUSE, 0, OPENED "2 rsp 6 500 no\n3 rsp 6 500 no\n");
    meet_manner(SIM_MANNER_REFUSE_ALL, 1, OPENED "2 rsp 6 500 no\n3 rsp 6 200 OK\n");
    meet_manner(SIM_MANNER_OPEN_REFUSED, 0,
                "1 rsp 44 500 required command not supported by client\n");
    meet_manner(SIM_MANNER_OPEN_OTHER, 0, "1 rsp 41 200 OK\nrelp_version=0\nrelp_software=other\n");
}

static void unhurried(void **unused)
{
    (void)unused;
    struct weir_sim_deviation shuffled[] = {{WEIR_SIM_PEER, COLLECTOR, PEER_SHUFFLED, 1},
                                            {WEIR_SIM_WORK, COLLECTOR, 0, 1}};
    meet(shuffled, 2, OPENED "3 rsp 6 200 OK\n2 rsp 6 200 OK\n");
    struct weir_sim_deviation late = {WEIR_SIM_PEER, COLLECTOR, PEER_LATE, 1};
    expected.least_ns = PAUSE_NS;
    meet(&late, 1, OPENED "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
    struct weir_sim_deviation crumbs = {WEIR_SIM_PEER, COLLECTOR, PEER_CRUMBS, 1};
    expected.recvs_more = 100; // a byte at a time
    meet(&crumbs, 1, OPENED "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
    struct weir_sim_deviation wordy[] = {{WEIR_SIM_PEER, COLLECTOR, PEER_WORDY, 1},
                                         {WEIR_SIM_WORK, COLLECTOR, 0, 5}};
    meet(wordy, 2, OPENED "2 rsp 11 200 OK.....\n3 rsp 6 200 OK\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),     cmocka_unit_test(silent),    cmocka_unit_test(hostile),
        cmocka_unit_test(refusing), cmocka_unit_test(unhurried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
