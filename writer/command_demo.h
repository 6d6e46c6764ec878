// The demonstration: a collector that is killed again and again, and exact counts afterwards.
//
// Three processes. The host (the parent) logs numbered lines through weir from two threads. The
// supervisor, forked before there were threads, forks collectors on command and does to them what
// it is told. A collector receives straight into a file mapped by all: what recv(2) gave it is
// recorded by that very call, so the file is the truth about what the process read, however it
// died.
#ifndef WEIR_WRITER_COMMAND_DEMO_H
#define WEIR_WRITER_COMMAND_DEMO_H

#include <sys/types.h>

#include "writer/command.h"

#define WEIR_DEMO_THREADS 2
#define WEIR_DEMO_LINE_BYTES_MAX 4096
#define WEIR_DEMO_CONNECTIONS_MAX 1024
#define WEIR_DEMO_PATH_BYTES_MAX 100 // of a Unix socket, with its terminator

// ---- Lines (command_demo_lines.c) ----

// Line number n is a pure function of this, so that every byte can be checked when it has arrived.
struct weir_demo_lines {
    uint64_t seed;
    uint64_t count;
    char *text; // of a file to take the lines from, or NULL
    size_t text_bytes;
    size_t *begins; // text_count + 1 offsets into text
    size_t text_count;
};
// `path` NULL: lines as a web server would write them. returns 0 or -errno.
int weir_demo_lines_init(struct weir_demo_lines *lines, const char *path, uint64_t seed,
                         uint64_t count);
void weir_demo_lines_deinit(struct weir_demo_lines *lines);
// Writes line `number`; no newline, no zero byte. returns its length, less than
// WEIR_DEMO_LINE_BYTES_MAX.
size_t weir_demo_line(const struct weir_demo_lines *lines, uint64_t number, char *to);
uint64_t weir_demo_random(uint64_t *state);

// ---- Collectors (command_demo_collector.c) ----

// Mapped by all three processes. Everything is relaxed: it is read for show while they run, and
// for the verdict when the writer's death was seen by waitpid.
struct weir_demo_shared {
    _Atomic uint32_t listening;   // the life of the collector that listens
    _Atomic uint32_t full;        // the record had no room: the demonstration is void
    _Atomic uint64_t recorded;    // bytes known to be in the record; a killed one lags behind
    _Atomic uint32_t connections; // entries of `begins`
    uint64_t begins[WEIR_DEMO_CONNECTIONS_MAX]; // where in the record each connection begins
};

struct weir_demo_collector {
    bool tcp;
    uint16_t port;
    int placeholder_fd; // TCP: bound, so that nobody takes the port while no collector lives
    char path[WEIR_DEMO_PATH_BYTES_MAX];
    struct weir_demo_shared *shared;
    unsigned char *record; // zero beyond what was recorded; no line has a zero byte
    size_t record_bytes;
    int control_fd; // to the supervisor
    pid_t supervisor;
    uint32_t life; // collectors started so far
};
// Forks the supervisor; before any thread exists. returns 0 or -errno.
int weir_demo_supervisor_start(struct weir_demo_collector *collector);
// The next life. returns the process or -errno.
pid_t weir_demo_collector_start(struct weir_demo_collector *collector);
// SIGKILL and SIGTERM return when it is dead, SIGSTOP when it has stopped. returns 0 or -errno.
int weir_demo_collector_signal(struct weir_demo_collector *collector, int number);
void weir_demo_supervisor_stop(struct weir_demo_collector *collector);
// Where the record ends, by looking.
size_t weir_demo_record_end(const struct weir_demo_collector *collector);

// ---- The verdict (command_demo_check.c) ----

struct weir_demo_verdict {
    uint64_t distinct;   // different lines in the record
    uint64_t duplicates; // lines beyond the first of their number
    uint64_t lost;       // accepted, but not there
    uint64_t strange;    // not a line that was ever logged
    uint64_t disorder;   // first copies that came after a later line of the same thread
    uint64_t torn;       // connections whose last line was cut off
};
// Reads the whole record. `accepted` has a byte per line: whether weir took it.
//   returns 0 or WEIR_EMEMORY.
int weir_demo_verdict_find(struct weir_demo_verdict *verdict,
                           const struct weir_demo_collector *collector,
                           const struct weir_demo_lines *lines, const unsigned char *accepted);

// ---- The host's logging threads (command_demo_host.c) ----

struct weir_demo_host;
struct weir_demo_logger {
    pthread_t thread;
    struct weir_demo_host *host;
    uint32_t index; // logs the lines whose number is this modulo WEIR_DEMO_THREADS
};
struct weir_demo_host {
    struct weir_pool *pool;
    const struct weir_demo_lines *lines;
    uint64_t seconds;
    unsigned char *accepted;
    struct weir_demo_logger loggers[WEIR_DEMO_THREADS];
    uint32_t started;
    _Atomic uint32_t running;
    _Atomic bool stop;
};
// returns 0 or -errno; loggers that were started go on.
int weir_demo_host_start(struct weir_demo_host *host);
bool weir_demo_host_running(struct weir_demo_host *host);
// Ends the threads; the pool must be closed if they may be blocked in it.
void weir_demo_host_stop(struct weir_demo_host *host);

// ---- The whole, and what is seen of it (command_demo_show.c) ----

enum weir_demo_end { WEIR_DEMO_GOES_ON, WEIR_DEMO_INTERRUPTED, WEIR_DEMO_FAILED };

struct weir_demo {
    const char *file;
    uint64_t lines_count, kills, seconds, seed;
    bool terminal, color;
    uint64_t begun_ns, progress_ns;
    char directory[WEIR_DEMO_PATH_BYTES_MAX];
    char record_path[WEIR_DEMO_PATH_BYTES_MAX + 16];
    struct weir_demo_lines lines;
    struct weir_demo_collector collector;
    struct weir_demo_host host;
    struct weir_runtime *runtime;
    struct weir_metrics seen; // when last looked at
    uint64_t resent_said;     // of seen.resent_messages
    uint64_t gathered;        // lines accepted when the collector was back, until all are confirmed
    enum weir_demo_end end;
};

// Lets time pass and says what weir notices. returns whether the demonstration goes on.
bool weir_demo_nap(struct weir_demo *demo, uint64_t milliseconds);
void weir_demo_collector_bring(struct weir_demo *demo);
// All faults, spread over the planned time at moments that the seed decides.
void weir_demo_faults_run(struct weir_demo *demo);
void weir_demo_announce(struct weir_demo *demo);
// The final table. returns whether everything is as it must be.
bool weir_demo_verdict_print(struct weir_demo *demo, const struct weir_demo_verdict *verdict,
                             int close_code);

#endif
