// A scriptable collector inside the test: a thread, or pumped by hand, on a real socket.
//
// It keeps what every connection brought, in order of acceptance, and behaves badly where its plan
// says so. Messages made by collector_message can be checked afterwards: which arrived, how often,
// in order, none torn.
#ifndef WEIR_TESTS_SUPPORT_COLLECTOR_H
#define WEIR_TESTS_SUPPORT_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum collector_kind { COLLECTOR_UNIX, COLLECTOR_TCP, COLLECTOR_UNIX_DGRAM, COLLECTOR_UDP };

// What a connection does once it has read so many bytes.
enum collector_then {
    COLLECTOR_GO_ON,
    COLLECTOR_CLOSE,      // closes; what is unread makes that a reset
    COLLECTOR_HALF_CLOSE, // says that it will send no more, and reads on
    COLLECTOR_STALL       // reads no more until collector_resume
};

// All-zero: reads all there is and closes after the end of stream.
struct collector_plan {
    enum collector_then then;
    size_t then_bytes;     // exactly: never reads beyond them before `then`
    bool then_wait_unread; // `then` comes only once there is something more to read
    size_t read_bytes_max; // of one read; 0: as much as possible
    size_t garbage_bytes;  // sent to the peer from acceptance on
    bool hold_open;        // does not close at the end of stream, until collector_resume
};

struct collector;

// The i-th connection follows plans[i], those beyond the last one. `plans` is the caller's and
// stays; none: all-zero. threaded: runs by itself until collector_stop. listening: at once.
struct collector *collector_start(enum collector_kind kind, const struct collector_plan *plans,
                                  size_t plans_count, bool threaded, bool listening);
// For struct weir_pool_options.
const char *collector_endpoint(const struct collector *collector);
// One round without waiting, for collectors that are not threaded.
void collector_pump(struct collector *collector);
// Stops listening (connections stay), or listens again at the same address.
void collector_listen(struct collector *collector, bool on);
// Stalled and held connections go on.
void collector_resume(struct collector *collector);
// Closes every connection that there is.
void collector_cut(struct collector *collector);
// Sends so many bytes of garbage on every connection, and then closes it if `close`.
void collector_garbage(struct collector *collector, size_t bytes, bool close_after);
// Reads what is left, ends the thread, closes everything; the records stay.
void collector_stop(struct collector *collector);
void collector_free(struct collector *collector);

size_t collector_connections(struct collector *collector); // accepted so far
size_t collector_bytes(struct collector *collector);       // read so far
size_t collector_ends(struct collector *collector);        // ends of stream read so far
// Waits until so many bytes were read, or connections accepted; false after ten seconds.
bool collector_wait_bytes(struct collector *collector, size_t bytes);
bool collector_wait_connections(struct collector *collector, size_t count);
// A copy of a connection's bytes, terminated, for the caller to free.
char *collector_copy(struct collector *collector, size_t connection, size_t *bytes);

// ---- Messages ----

// Writes the message `number` of `thread`, at least 24 bytes and as long as asked.
void collector_message(char *to, uint32_t thread, uint32_t number, size_t length);

// What arrived of thread's messages 0..numbers-1, newline framing.
struct collector_tally {
    uint32_t threads, numbers;
    uint8_t *seen;     // [thread * numbers + number]: how often, at most 255
    uint64_t distinct; // messages that arrived
    uint64_t repeated; // copies beyond the first
    uint64_t torn;     // connections before the last one that ended inside a message
    uint64_t others;   // whole lines that are not such messages, such as gap records
    const char *wrong; // NULL, or what must not be: damaged, out of order, unknown, the end torn
};
// `seen` is allocated here and to be freed by the caller.
void collector_count(struct collector *collector, uint32_t threads, uint32_t numbers,
                     struct collector_tally *tally);

#endif
