// The `weir` command: what its subcommands share.
//
// The command is a host of the library like any other: it uses the public headers, and of the
// private ones only the options' texts and the endpoint's parser. Unlike the library it may call
// libc freely. Every message goes to standard error as "weir COMMAND: what: why".
#ifndef WEIR_WRITER_COMMAND_H
#define WEIR_WRITER_COMMAND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "weir.h"
#include "weir_writer.h"

// What the process ends with. If several apply to `send`: the first of 4, 1, 3.
enum weir_command_exit {
    WEIR_EXIT_GOOD = 0,
    WEIR_EXIT_UNDELIVERED = 1, // some messages were not delivered; demo: the books do not add up
    WEIR_EXIT_USAGE = 2,
    WEIR_EXIT_UNPROVEN = 3, // everything was confirmed, but the peer did not close in time
    WEIR_EXIT_SYSTEM = 4    // a file, a socket or memory could not be had
};

#define WEIR_NS_PER_MS UINT64_C(1000000)
#define WEIR_NS_PER_S UINT64_C(1000000000)

// Each is given the arguments after its name and returns the exit status.
int weir_command_send(int count, char **values);
int weir_command_recv(int count, char **values);
int weir_command_demo(int count, char **values);

// ---- Messages (command_options.c) ----

// "weir COMMAND: TEXT\n" in one write; clears a progress line that stands there.
void weir_command_say(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// The same, and where to find help. returns WEIR_EXIT_USAGE.
int weir_command_refuse(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// The text of what the library returned, system errors included.
const char *weir_command_error_text(int code);
// Flushes standard output. returns `status`, or WEIR_EXIT_SYSTEM, said, when that failed.
int weir_command_finish_output(const char *command, int status);

// ---- Arguments (command_options.c) ----

enum weir_argument { WEIR_ARGUMENT_END, WEIR_ARGUMENT_OPTION, WEIR_ARGUMENT_OPERAND };

// Walks over "--name value", "--name=value" and operands; after "--" only operands.
struct weir_arguments {
    const char *command;
    char **values;
    int count, next;
    bool operands_only;
    const char *operand;      // of WEIR_ARGUMENT_OPERAND
    char name[64];            // of WEIR_ARGUMENT_OPTION, without the dashes
    const char *inline_value; // what stood after '=', or NULL
};
enum weir_argument weir_arguments_next(struct weir_arguments *arguments);
// The option's value; NULL when there is none, which has been said.
const char *weir_arguments_value(struct weir_arguments *arguments);
// Whether the option came without a value, as a flag must; if not, that has been said.
bool weir_arguments_flag(const struct weir_arguments *arguments);
// A whole number between two bounds. returns 0, or WEIR_EXIT_USAGE after saying what is wrong.
int weir_arguments_number(struct weir_arguments *arguments, uint64_t least, uint64_t most,
                          uint64_t *number);
// Seconds, with up to three decimals, at most a day. returns as weir_arguments_number.
int weir_arguments_seconds_ms(struct weir_arguments *arguments, uint64_t *milliseconds);

// ---- Lines (command_lines.c) ----

enum weir_line {
    WEIR_LINE_NONE,    // no whole line is left: fill again
    WEIR_LINE_WHOLE,   //
    WEIR_LINE_TOO_LONG // the first `bytes_max + 1` bytes of a line that is longer than bytes_max
};

// Cuts what read(2) gives into lines. Memory is bounded whatever comes: of a line that is too long
// only the beginning is kept.
struct weir_lines {
    char *bytes;
    size_t capacity, begin, end; // unread bytes are [begin, end)
    size_t scanned;              // no newline in [begin, begin + scanned)
    size_t bytes_max;
    bool keep_newline; // it counts as part of its line
    bool skipping;     // in the rest of a line that is too long
};
// returns 0 or WEIR_EMEMORY.
int weir_lines_init(struct weir_lines *lines, size_t bytes_max, bool keep_newline);
void weir_lines_deinit(struct weir_lines *lines);
// One read(2) of at most read_max bytes. returns the count, 0 at the end of the file, or -errno.
int64_t weir_lines_fill(struct weir_lines *lines, int fd, size_t read_max);
enum weir_line weir_lines_next(struct weir_lines *lines, const char **line, size_t *line_bytes);
// What is left when no more will come: a last line without newline.
enum weir_line weir_lines_rest(struct weir_lines *lines, const char **line, size_t *line_bytes);
// Whether a line has begun that has not ended.
bool weir_lines_partial(const struct weir_lines *lines);

// ---- Reports (command_report.c) ----

// "1,234,567". returns `text`.
#define WEIR_NUMBER_TEXT_BYTES 32
const char *weir_number_text(char text[WEIR_NUMBER_TEXT_BYTES], uint64_t number);

uint64_t weir_metrics_rejected(const struct weir_metrics *metrics);
uint64_t weir_metrics_dropped(const struct weir_metrics *metrics);
// Attempts to connect that failed.
uint64_t weir_metrics_retries(const struct weir_metrics *metrics);

// What was rejected or dropped, by reason: "1 too_big, 20 deadline". Terminated, cut if it must be.
void weir_report_reasons(const struct weir_metrics *metrics, char *text, size_t text_bytes);
// The books as a table for people.
void weir_report_books(FILE *to, const struct weir_metrics *metrics, uint64_t elapsed_ns);
// Prometheus text. returns 0 or WEIR_EMEMORY.
int weir_report_prometheus(FILE *to, const struct weir_metrics *metrics);

// A line that overwrites itself on a terminal.
struct weir_progress {
    int fd; // -1: none is wanted
    uint64_t confirmed, at_ns;
    double rate;
};
void weir_progress_show(struct weir_progress *progress, const struct weir_metrics *metrics,
                        uint64_t now_ns);
void weir_progress_clear(const struct weir_progress *progress);

uint64_t weir_command_now_ns(void);

// ---- Control of a sending command (command_control.c) ----

// Where the thread that reads the input is.
enum weir_sending {
    WEIR_SENDING_READS,    // reading and logging; may be blocked in read, open or weir_log
    WEIR_SENDING_DRAINS,   // all is logged; waiting in short slices until it is delivered
    WEIR_SENDING_CLOSES,   // in weir_pool_close
    WEIR_SENDING_CUT_SHORT // the time was over while it read: the control thread closes the pool
};

// Signals, deadlines and progress, on a thread of their own, so that none of them depends on where
// the reading thread is blocked. All shared members are relaxed: no data is handed over with them,
// and `close_code` is read after the thread was joined.
struct weir_control {
    const char *command;
    struct weir_pool *pool;
    uint64_t drain_timeout_ms;
    struct weir_progress progress;
    // Says how it ended and gives the exit status, when the process must end in mid-close.
    int (*finish)(void *context, int close_code);
    void *context;
    // Private:
    pthread_t reader, thread;
    uint32_t signals;
    _Atomic uint32_t state; // enum weir_sending
    _Atomic bool stop_reading;
    _Atomic bool over;
    _Atomic uint64_t deadline_ns; // of everything; 0 until a signal sets it
    uint64_t pokes;
    int close_code;
};
// Blocks the signals that the control thread will take; before any other thread is started.
void weir_control_prepare(void);
// Called by the reading thread. returns 0 or -errno.
int weir_control_start(struct weir_control *control);
// Whether no more is to be read. A blocking call in the reading thread ends with EINTR then.
bool weir_control_stopped(struct weir_control *control);
// All is logged: waits until it is confirmed, then closes the pool; `timeout_ms` in all, less if a
// signal sets a deadline. Ends the thread. returns what weir_pool_close did.
int weir_control_close(struct weir_control *control, uint64_t timeout_ms);

// ---- Records: the receiving side of framing (command_records.c) ----

enum weir_unframing { WEIR_UNFRAMING_AUTO, WEIR_UNFRAMING_NEWLINE, WEIR_UNFRAMING_OCTETS };

// More than any sane record; protects the receiver's memory.
#define WEIR_RECORD_BYTES_MAX ((size_t)16 << 20)

// Finds the first record in `bytes`.
//   memory   *record points into `bytes`.
//            AUTO in *unframing is replaced once it is decided.
//   returns  how many bytes it takes with its frame; 0: not all of it is there; WEIR_ETOOBIG: it is
//            longer than WEIR_RECORD_BYTES_MAX; WEIR_EDELIMITER: no frame (octet counting).
int64_t weir_record_next(enum weir_unframing *unframing, const unsigned char *bytes,
                         size_t bytes_count, const unsigned char **record, size_t *record_bytes);

// ---- Output of records (command_output.c) ----

// Gathers records and writes them, one per line, whole ones only.
struct weir_output {
    int fd; // -1: nothing is written
    bool regular;
    unsigned char *bytes;
    size_t filled, capacity;
    int error; // a positive errno: nothing is written any more
    // Asked while nobody takes the output: whether to go on waiting.
    bool (*patient)(void *context);
    void *context;
};
// returns 0 or WEIR_EMEMORY.
int weir_output_init(struct weir_output *output, int fd);
void weir_output_deinit(struct weir_output *output);
void weir_output_record(struct weir_output *output, const unsigned char *record, size_t bytes);
void weir_output_flush(struct weir_output *output);

// ---- Listening (command_listen.c) ----

// A descriptor that listens (streams) or is bound (datagrams), nonblocking and close-on-exec.
struct weir_listener {
    int fd;
    bool stream;
    bool unix_domain;
    char path[128];         // a socket file to be removed at the end, or empty
    uint64_t device, inode; // which file that was
};
// Opens what `endpoint` says; a socket file nobody answers on is replaced.
//   returns  0; WEIR_EXIT_USAGE or WEIR_EXIT_SYSTEM, said.
int weir_listener_open(struct weir_listener *listener, const char *command, const char *option,
                       const char *endpoint);
// Removes the socket file if it is still ours; the descriptor is somebody else's by now.
void weir_listener_unlink(const struct weir_listener *listener);

#endif
