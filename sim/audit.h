// Inside the auditor: its records.
//
// Shared by auditor.c (what the host does), audit_stream.c (what went over the wire) and
// audit_pool.c (what the pool says).
#ifndef WEIR_SIM_AUDIT_H
#define WEIR_SIM_AUDIT_H

#include "sim/auditor.h"
#include "sim/frame.h"

enum audit_state {
    AUDIT_UNKNOWN,
    AUDIT_OFFERED,  // a call is under way that may take it
    AUDIT_HELD,     // reserved: taken, and not yet to be sent
    AUDIT_ACCEPTED, // the host was told 0
    AUDIT_REJECTED,
    AUDIT_ABANDONED // taken, and given up by the host
};

struct audit_message {
    uint32_t bytes;
    uint32_t serial;        // of its acceptance, from 1
    uint32_t order;         // place in the order in which messages were first handed over, from 1
    uint32_t connection[2]; // per side: serial of the last connection it was seen on
    uint8_t state;          // enum audit_state
    bool held;              // was reserved, so that it is already counted as accepted
    bool late;              // offered after the pool was closed
    bool acknowledged;
    bool read;
};

// Gap records are told apart by their text; one with the same text on another connection is the
// same.
struct audit_gap {
    uint64_t hash, messages, bytes;
    uint32_t order;
    uint32_t connection[2];
    bool acknowledged;
    bool read;
};

// What was handed over on one connection, in order: for acknowledgements.
struct audit_entry {
    uint64_t end;    // position on the connection
    uint32_t record; // index of the message, or AUDIT_GAP + index of the gap
    uint32_t next;   // entry + 1
};
#define AUDIT_GAP (1u << 31)

struct audit_connection {
    struct sim_frame frame;
    uint32_t *next_sequence; // per producer: the last one seen, plus one
    uint64_t bytes;          // of the stream so far
    uint64_t records;
    uint64_t acknowledged;
    uint64_t confirmed;                   // messages confirmed when it began
    uint32_t serial;                      // from 1; 0: not in use
    uint32_t entries_first, entries_last; // entry + 1, those not acknowledged
    enum sim_side side;
};

// An array that grows in the arena.
struct audit_array {
    void *items;
    uint32_t count, capacity;
};

struct sim_auditor {
    struct sim_auditor_options options;
    enum sim_promise promise;
    struct audit_message *messages; // producers_count x messages_max
    struct audit_array connections; // struct audit_connection
    struct audit_array gaps;        // struct audit_gap
    struct audit_array entries;     // struct audit_entry
    uint32_t connection_serial;
    bool closing, closed;
    bool parting; // see sim_auditor_parting
    uint64_t offered, accepted, held, abandoned;
    uint64_t rejected[WEIR_REJECTIONS_COUNT];
    uint64_t rejected_full_bytes;
    uint64_t handed;          // messages and gap records, each once
    uint64_t read, read_gaps; // each once
    uint64_t assured;         // read or acknowledged, gap records included
    uint64_t repeated;        // reads of what was read before
    uint64_t breaks, cuts;
    uint64_t torn[2]; // per side: connections that ended inside a frame
};

// Zeroed; gone with the run.
void *sim_audit_alloc(const struct sim_auditor *auditor, size_t bytes);
// One more item, zeroed.
void *sim_audit_add(struct sim_auditor *auditor, struct audit_array *array, size_t item_bytes);
// NULL: no producer has it.
struct audit_message *sim_audit_message(const struct sim_auditor *auditor, uint32_t producer,
                                        uint32_t sequence);
// How many messages and gap records the promise has proof of.
uint64_t sim_audit_assured(const struct sim_auditor *auditor);
// Whether the promise, or a process's reading, has proof of this one.
bool sim_audit_message_assured(const struct sim_auditor *auditor,
                               const struct audit_message *message);

#endif
