// A scripted RELP server inside the test: a thread of its own on a loopback TCP port.
//
// It reads the client's frames with a parser of its own, keeps every one of them, and holds each
// connection to the protocol: `open` is number 1 and comes alone, messages are numbered 2, 3, 4
// and so on, nothing follows `close`. What a connection answers, and how it ends, its plan says.
// Messages are counted from 1, so the n-th has number n + 1.
#ifndef WEIR_TESTS_SUPPORT_RELP_H
#define WEIR_TESTS_SUPPORT_RELP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What answers `open`.
enum relp_open {
    RELP_OPEN_OK,
    RELP_OPEN_REFUSED,   // 500
    RELP_OPEN_VERSION,   // 200, but it speaks another version
    RELP_OPEN_NO_SYSLOG, // 200, but it takes no messages
    RELP_OPEN_NEVER,
    RELP_OPEN_LATE, // OK, after open_late_ms
    RELP_OPEN_RAW,  // the plan's raw bytes
    RELP_OPEN_TORN  // half of OK, and nothing more
};

// What happens, once, when then_received messages have come and then_answered are answered.
enum relp_then {
    RELP_GO_ON,
    RELP_SERVERCLOSE, // sends the hint, reads on, answers nothing
    RELP_HALF_CLOSE,  // ends its side, reads on, answers nothing
    RELP_CLOSE,       // closes; what is unread or still comes makes that a reset
    RELP_RESET        // once the client's kernel has every answer, resets the connection
};

// What answers `close`.
enum relp_close {
    RELP_CLOSE_OK,      // the answer, `serverclose`, the end
    RELP_CLOSE_NEVER,   // nothing
    RELP_CLOSE_END,     // the end alone
    RELP_CLOSE_RESET,   // a reset
    RELP_CLOSE_ANSWER,  // the answer, and nothing more
    RELP_CLOSE_GARBAGE, // what is not RELP
    RELP_CLOSE_LATE     // OK, after open_late_ms
};

// All-zero: answers everything at once, as it should.
struct relp_plan {
    enum relp_open open;
    uint32_t open_late_ms;
    // Sent behind the answer to the raw_at-th message, also where that itself is not sent; with
    // RELP_OPEN_RAW in place of the answer to `open`.
    const char *raw;
    uint32_t raw_at;
    uint32_t raw_accepts; // how many messages they answer for, for the view
    const char *accept;   // data of an answer; NULL: "200 OK"
    const char *refuse;   // and of a refusal; NULL: "500 no room"
    uint32_t refuse_at;   // this message is refused
    uint32_t refuse_from; // this one and those after it
    uint32_t mute_from;   // and these are not answered
    uint32_t batch;       // answers go out so many at a time, or when nothing has come for 20 ms
    bool reversed;        // within a batch, the last first
    bool gated;           // each answer waits for relp_server_allow
    bool single_bytes;    // one byte a millisecond
    enum relp_then then;
    uint32_t then_received, then_answered;
    size_t stall_bytes; // so many are read, and no more; 0: all
    size_t slow_bytes;  // at most so many a millisecond; 0: as they come
    enum relp_close close;
};

struct relp_server;

// The i-th connection follows plans[i], those beyond the last one; none: all-zero. Their strings
// are the caller's and stay.
struct relp_server *relp_server_start(const struct relp_plan *plans, size_t plans_count);
const char *relp_server_endpoint(const struct relp_server *server); // relp://ADDRESS:PORT
// So many more answers may be sent on gated connections, all together.
void relp_server_allow(struct relp_server *server, uint64_t answers);
// Closes every connection that there is.
void relp_server_cut(struct relp_server *server);
// Reads what is left, ends the thread, closes everything; the records stay.
void relp_server_stop(struct relp_server *server);
void relp_server_free(struct relp_server *server);

// ---- What came ----

struct relp_view {
    uint32_t messages, accepted, refused; // received; answered with 200, or with another code
    uint32_t raw_accepted;                // answered for by the plan's raw bytes
    uint32_t unanswered_max;              // at any moment
    size_t unanswered_bytes_max;          // of whole frames
    uint64_t sent_bytes, received_bytes;
    uint32_t close_number; // of `close`; 0: none came
    size_t torn_bytes;     // of a frame that has not ended
    bool ended;            // the client's end of stream was read
    const char *wrong;     // NULL, or how the client violated the protocol
    char head[128];        // its first bytes, terminated
};

struct relp_frame {
    uint32_t number;
    uint32_t verdict; // 0: not answered; 200; 500
    size_t data_bytes, frame_bytes;
    unsigned char *data; // the server's, until it is freed
};

size_t relp_server_connections(struct relp_server *server);
// Sums over the connections; sent_bytes and received_bytes too, close_number and head excepted.
void relp_server_look_all(struct relp_server *server, struct relp_view *view);
void relp_server_look(struct relp_server *server, size_t connection, struct relp_view *view);
// The n-th message of a connection, n from 0.
void relp_server_message(struct relp_server *server, size_t connection, size_t n,
                         struct relp_frame *frame);
// Wait until so many connections were accepted, or messages received on all of them, or on one;
// false after twenty seconds.
bool relp_server_wait_connections(struct relp_server *server, size_t count);
bool relp_server_wait_messages(struct relp_server *server, uint64_t count);
bool relp_server_wait_connection(struct relp_server *server, size_t connection, uint64_t messages);

// What came of the messages 0..numbers-1 of each thread, written by collector_message.
struct relp_tally {
    uint64_t distinct, repeated; // received; copies beyond the first
    uint64_t accepted, refused;  // distinct ones that were answered so at least once
    uint64_t others;             // not such messages
    const char *wrong;           // NULL, or: damaged, unknown, out of order within a connection
};
void relp_server_tally(struct relp_server *server, uint32_t threads, uint32_t numbers,
                       struct relp_tally *tally);

#endif
