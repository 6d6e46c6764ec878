// What is done to the demonstration's collector, what weir notices of it, and the final table.
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "runtime/assert.h"
#include "writer/command_demo.h"

#define WATCH_MS 20
#define PROGRESS_NS (200 * WEIR_NS_PER_MS)
#define CONNECT_WAIT_MS 5000
// How long the collector hangs before every other kill: then something is on its way for certain.
#define HANG_MS 150
// How soon after a connection a collector dies that dies young.
#define CATCH_MS 15
// Out of service for so long at most: people wait for it.
#define FAULT_MS_MAX 900
#define STOP_MS_MAX 1000

// ---- The screen ----

static const char *paint(const struct weir_demo *demo, const char *code)
{
    return demo->color ? code : "";
}
#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

static void demo_note(struct weir_demo *demo, const char *color, const char *who,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
static void demo_note(struct weir_demo *demo, const char *color, const char *who,
                      const char *format, ...)
{
    va_list values;
    double seconds = (double)(weir_command_now_ns() - demo->begun_ns) / 1e9;
    printf("%s[%6.2f s] %s%-10s%s ", demo->terminal ? "\r\033[K" : "", seconds, paint(demo, color),
           who, paint(demo, PLAIN));
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
    (void)fflush(stdout);
}

static void progress_show(struct weir_demo *demo, const struct weir_metrics *now)
{
    char accepted[WEIR_NUMBER_TEXT_BYTES];
    char confirmed[WEIR_NUMBER_TEXT_BYTES];
    char held[WEIR_NUMBER_TEXT_BYTES];
    uint64_t at = weir_command_now_ns();
    if (demo->terminal && at - demo->progress_ns >= PROGRESS_NS) {
        demo->progress_ns = at;
        printf("\r\033[K           %s logged, %s confirmed, %s held, %s",
               weir_number_text(accepted, now->accepted_messages),
               weir_number_text(confirmed, now->confirmed_messages),
               weir_number_text(held, now->held_messages),
               now->writers_connected > 0 ? "connected" : "not connected");
        (void)fflush(stdout);
    }
}

// Says what weir has noticed since the last look.
static void demo_watch(struct weir_demo *demo)
{
    struct weir_metrics now;
    const struct weir_metrics *seen = &demo->seen;
    char text[WEIR_NUMBER_TEXT_BYTES];
    weir_pool_stats(demo->host.pool, &now);
    if (now.disconnects > seen->disconnects) {
        demo_note(demo, YELLOW, "weir", "lost the connection, holds %s lines",
                  weir_number_text(text, now.held_messages));
    }
    if (now.connects > seen->connects) {
        demo_note(demo, GREEN, "weir", "is connected, holds %s lines",
                  weir_number_text(text, now.held_messages));
    }
    // Said when the number has stood still for a look.
    if (now.resent_messages > demo->resent_said && now.resent_messages == seen->resent_messages) {
        demo_note(demo, GREEN, "weir", "sent again %s lines that were not confirmed",
                  weir_number_text(text, now.resent_messages - demo->resent_said));
        demo->resent_said = now.resent_messages;
    }
    if (now.disconnects > seen->disconnects) {
        demo->gathered = 0;
    }
    if (now.connects > seen->connects) {
        demo->gathered = now.accepted_messages;
    }
    if (demo->gathered != 0 && now.confirmed_messages >= demo->gathered) {
        demo_note(demo, GREEN, "weir", "has delivered all that had gathered: %s lines confirmed",
                  weir_number_text(text, now.confirmed_messages));
        demo->gathered = 0;
    }
    progress_show(demo, &now);
    demo->seen = now;
}

bool weir_demo_nap(struct weir_demo *demo, uint64_t milliseconds)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    uint64_t until = weir_command_now_ns() + milliseconds * WEIR_NS_PER_MS;
    while (demo->end == WEIR_DEMO_GOES_ON && weir_command_now_ns() < until) {
        uint64_t left = (until - weir_command_now_ns()) / WEIR_NS_PER_MS + 1;
        struct timespec wait = {.tv_nsec =
                                    (long)((left < WATCH_MS ? left : WATCH_MS) * WEIR_NS_PER_MS)};
        if (sigtimedwait(&signals, NULL, &wait) > 0) {
            demo->end = WEIR_DEMO_INTERRUPTED;
        }
        demo_watch(demo);
    }
    return demo->end == WEIR_DEMO_GOES_ON;
}

// ---- What is done to the collector ----

void weir_demo_collector_bring(struct weir_demo *demo)
{
    pid_t process = weir_demo_collector_start(&demo->collector);
    if (process < 0) {
        demo_note(demo, RED, "collector", "cannot be started: %s", strerror(-process));
        demo->end = WEIR_DEMO_FAILED;
        return;
    }
    demo_note(demo, PLAIN, "collector", "%u started, process %d", demo->collector.life,
              (int)process);
}

static void collector_hurt(struct weir_demo *demo, int number, const char *what)
{
    struct weir_demo_shared *shared = demo->collector.shared;
    char text[WEIR_NUMBER_TEXT_BYTES];
    int code = weir_demo_collector_signal(&demo->collector, number);
    if (code < 0) {
        demo_note(demo, RED, "collector", "%u is gone: %s", demo->collector.life, strerror(-code));
        demo->end = WEIR_DEMO_FAILED;
        return;
    }
    uint64_t recorded = atomic_load_explicit(&shared->recorded, memory_order_relaxed);
    demo_note(demo, number == SIGCONT ? PLAIN : RED, "collector", "%u %s; %s bytes recorded so far",
              demo->collector.life, what, weir_number_text(text, recorded));
}

static void connection_await(struct weir_demo *demo)
{
    for (int i = 0; i < CONNECT_WAIT_MS / WATCH_MS && demo->seen.writers_connected == 0; i++) {
        if (!weir_demo_nap(demo, WATCH_MS)) {
            return;
        }
    }
    if (demo->seen.writers_connected == 0) {
        demo_note(demo, RED, "weir", "does not connect");
        demo->end = WEIR_DEMO_FAILED;
    }
}

// Dead for a while, then there is a new one.
static void fault_kill(struct weir_demo *demo, bool hang_first, uint64_t dead_ms)
{
    if (demo->end != WEIR_DEMO_GOES_ON) {
        return;
    }
    if (demo->collector.tcp) {
        collector_hurt(demo, SIGTERM, "ended in peace (SIGTERM)");
    } else {
        if (hang_first) {
            collector_hurt(demo, SIGSTOP, "hangs");
            (void)weir_demo_nap(demo, HANG_MS);
        }
        collector_hurt(demo, SIGKILL, "KILLED");
    }
    if (weir_demo_nap(demo, dead_ms)) {
        weir_demo_collector_bring(demo);
    }
}

static void fault_stop(struct weir_demo *demo, uint64_t stopped_ms)
{
    collector_hurt(demo, SIGSTOP, "STOPPED: it takes nothing, and says nothing");
    if (weir_demo_nap(demo, stopped_ms)) {
        collector_hurt(demo, SIGCONT, "goes on");
        demo->gathered = demo->seen.accepted_messages;
    }
}

// Dead, and its successor dies while it reads what has gathered.
static void fault_kill_twice(struct weir_demo *demo, uint64_t dead_ms)
{
    fault_kill(demo, false, dead_ms);
    connection_await(demo);
    (void)weir_demo_nap(demo, CATCH_MS);
    fault_kill(demo, false, dead_ms);
}

void weir_demo_faults_run(struct weir_demo *demo)
{
    uint64_t random = demo->seed;
    uint64_t slot_ms = demo->seconds * 920 / (demo->kills + 1);
    for (uint64_t i = 0; i <= demo->kills && demo->end == WEIR_DEMO_GOES_ON; i++) {
        uint64_t before_ms = slot_ms * (30 + weir_demo_random(&random) % 20) / 100;
        uint64_t fault_ms = slot_ms * (15 + weir_demo_random(&random) % 20) / 100;
        (void)weir_demo_nap(demo, before_ms);
        connection_await(demo);
        if (demo->end != WEIR_DEMO_GOES_ON) {
            break;
        }
        fault_ms = fault_ms < FAULT_MS_MAX ? fault_ms : FAULT_MS_MAX;
        if (i == demo->kills / 2) {
            fault_ms *= 2;
            fault_stop(demo, fault_ms < STOP_MS_MAX ? fault_ms : STOP_MS_MAX);
        } else if (i > 0 && i % 3 == 0 && i < demo->kills) {
            fault_kill_twice(demo, fault_ms);
            i++;
        } else {
            fault_kill(demo, i % 3 == 1, fault_ms);
        }
        uint64_t spent_ms = before_ms + fault_ms;
        (void)weir_demo_nap(demo, slot_ms > spent_ms ? slot_ms - spent_ms : 0);
    }
}

// ---- Beginning and end ----

void weir_demo_announce(struct weir_demo *demo)
{
    char text[WEIR_NUMBER_TEXT_BYTES];
    printf(
        "A host logs %s lines in %llu s from %d threads to a collector on a %s. The collector is\n"
        "%s %llu times and stopped once; then every line is looked for. (seed %llu)\n",
        weir_number_text(text, demo->lines_count), (unsigned long long)demo->seconds,
        WEIR_DEMO_THREADS, demo->collector.tcp ? "TCP port" : "Unix socket",
        demo->collector.tcp ? "ended and restarted" : "killed", (unsigned long long)demo->kills,
        (unsigned long long)demo->seed);
    if (demo->collector.tcp) {
        puts("On TCP weir can prove that the collector's kernel has a line, not that the process "
             "read it;\n"
             "so here the collector gets SIGTERM and reads to the end, where on a Unix socket it "
             "is killed.");
    }
    (void)fflush(stdout);
}

static void table_row(const char *what, uint64_t number, const char *remark)
{
    char text[WEIR_NUMBER_TEXT_BYTES];
    printf("  %-34s %12s%s%s\n", what, weir_number_text(text, number),
           remark[0] == '\0' ? "" : "   ", remark);
}

bool weir_demo_verdict_print(struct weir_demo *demo, const struct weir_demo_verdict *verdict,
                             int close_code)
{
    struct weir_metrics books;
    weir_pool_stats(demo->host.pool, &books);
    bool balanced = weir_metrics_balanced(&books);
    bool complete = verdict->lost == 0 && verdict->distinct >= books.confirmed_messages;
    bool sound = verdict->strange == 0 && verdict->disorder == 0;
    printf("%s\n", demo->terminal ? "\r\033[K" : "");
    table_row("offered to weir", books.offered_messages, "");
    table_row("accepted", books.accepted_messages, "");
    table_row("confirmed", books.confirmed_messages,
              close_code == 0 ? "proven to the end" : weir_command_error_text(close_code));
    table_row("dropped or rejected", weir_metrics_dropped(&books) + weir_metrics_rejected(&books),
              "");
    table_row("sent again after a break", books.resent_messages, "");
    table_row("connections made", books.connects, "");
    table_row("attempts to connect that failed", weir_metrics_retries(&books), "");
    table_row("different lines recorded", verdict->distinct, "by the collectors, while they lived");
    table_row("duplicates", verdict->duplicates, "read, but not yet confirmed, at a break");
    table_row("lines cut off by a death", verdict->torn, "sent again whole");
    table_row("out of order or damaged", verdict->strange + verdict->disorder, "");
    table_row("LOST", verdict->lost, "");
    bool good = balanced && complete && sound;
    printf("\n%s%s%s: %s%s\n", paint(demo, good ? GREEN : RED), good ? "GOOD" : "BAD",
           paint(demo, PLAIN),
           good ? "every line that weir accepted was read by a collector, and the books balance"
           : !balanced ? "the books do not balance"
           : !complete ? "lines are missing"
                       : "lines are damaged or out of order",
           books.accepted_messages == demo->lines_count ? "" : "; not every line was logged");
    return good;
}
