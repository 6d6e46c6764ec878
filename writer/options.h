// Options: their names, ranges and texts in one table, and their resolution into a plan.
//
// An option is checked twice: alone, when it is set from text, and with all others when a pool is
// opened, because a host can also write to the struct. What the second check accepts is a plan:
// plain values without pointers, defaults or contradictions, from which the pool is built.
#ifndef WEIR_WRITER_OPTIONS_H
#define WEIR_WRITER_OPTIONS_H

#include "runtime/cold.h"
#include "writer/limits.h"

#include "writer/endpoint.h"
#include "writer/framing.h"
#include "writer/segment.h"

// What an operator is told about one option.
struct weir_option {
    const char *name;    // of the member of struct weir_pool_options
    const char *syntax;  // what may be written: "N", "SIZE", "MS", "on|off", "a|b|c", ...
    const char *initial; // the default as it would be written; "" is an empty string
    const char *help;    // one line, no full stop
};

// The options in the order of the struct; NULL past the last.
//   memory   constant.
//   threads  any.
WEIR_COLD const struct weir_option *weir_option_at(size_t index);

// Checks every value by itself: numbers within their bounds, enum values known. Facility and
// severity are left out, as nobody looks at them without a header.
//   returns  0; WEIR_EOPTION: `why` names the option, its value and the bounds.
//   threads  any.
WEIR_COLD WEIR_MUST_USE int weir_pool_options_check_values(const struct weir_pool_options *options,
                                                           char *why, size_t why_bytes);

struct weir_pool_plan {
    struct weir_endpoint endpoints[WEIR_ENDPOINTS_MAX];
    uint8_t levels[WEIR_ENDPOINTS_MAX]; // of each; 0 is used first; never falling
    uint32_t endpoints_count;           // 1 or more; all stream, all RELP or all datagram
    bool stream;
    bool relp;
    bool gap_records;
    enum weir_confirm confirm; // never WEIR_CONFIRM_AUTO
    enum weir_refused refused;
    void (*log)(void *log_context, const char *line); // NULL: nobody
    void *log_context;
    enum weir_full full;
    uint32_t writers_count;
    uint32_t message_bytes_max; // framing included; the same as row.message_bytes_max
    uint32_t flush_interval_ms;
    uint32_t retry_interval_ms;
    uint32_t retry_interval_max_ms;
    uint32_t connect_timeout_ms;
    uint32_t stall_timeout_ms;
    uint32_t failback_ms;                                          // 0: never
    uint32_t keepalive_ms, tcp_user_timeout_ms, notsent_bytes_max; // TCP; 0: the system's rule
    uint32_t window_messages, window_bytes, answer_timeout_ms;     // RELP
    uint64_t take_bytes;   // unsent and taken from the row, one segment more at most
    uint64_t replay_bytes; // 0: none; at most a quarter of what a writer's row holds
    uint64_t epoch_bytes;  // 0: no epochs; at most a quarter of what a writer's row holds
    uint32_t epoch_interval_ms;
    uint64_t buffer_bytes_max;   // as given; writers_count * region_bytes is at most this
    size_t region_bytes;         // one writer's row: weir_row_region_bytes(&row)
    struct weir_row_options row; // each writer's
    struct weir_framer framer;   // datagrams: raw, as each message is one datagram
};

// Checks everything that can be known without a runtime and resolves it. Left to the pool:
// WEIR_FULL_BLOCK needs a runtime with workers.
//   memory   the options and their strings may go after return; `plan` is written only on success;
//            `why` (may be NULL when why_bytes is 0) receives a terminated sentence on failure and
//            "" on success; 384 bytes hold every one of them.
//   returns  0; WEIR_EOPTION: `why` names the option, its value and what would be right.
//   threads  any.
WEIR_COLD WEIR_MUST_USE int weir_pool_options_check(const struct weir_pool_options *options,
                                                    struct weir_pool_plan *plan, char *why,
                                                    size_t why_bytes);

#endif
