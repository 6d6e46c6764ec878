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

// What is known for good of a record over RELP: it and all before it on a connection were answered.
enum audit_settlement { AUDIT_UNSETTLED, AUDIT_CONFIRMED, AUDIT_REFUSED };

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
    uint8_t settled; // enum audit_settlement
};

// Gap records are told apart by their text; one with the same text on another connection is the
// same.
struct audit_gap {
    uint64_t hash, messages, bytes;
    uint32_t order;
    uint32_t connection[2];
    bool acknowledged;
    bool read;
    uint8_t settled; // enum audit_settlement
};

// What was handed over on one connection, in order: for acknowledgements, and RELP's answers.
struct audit_entry {
    uint64_t end;    // position on the connection
    uint32_t record; // index of the message, or AUDIT_GAP + index of the gap
    uint32_t next;   // entry + 1
    uint32_t number; // RELP: of its frame
    uint32_t bytes;  // ... and its length
    uint32_t code;   // ... and the answer's; 0: none yet
};
#define AUDIT_GAP (1u << 31)

// Of the open's answer so much is looked at.
#define AUDIT_ANSWER_BYTES 256

// RELP: the peer's side of a connection, as far as the pool has read it.
struct audit_dialogue {
    struct sim_relp_frame frame;
    unsigned char data[AUDIT_ANSWER_BYTES];
    bool opened;   // the session was agreed to
    bool lost;     // nothing that follows counts: a violation, a goodbye
    bool excused;  // see sim_auditor_excused
    bool answered; // the close
    uint32_t unanswered_messages;
    uint64_t unanswered_bytes;
    uint64_t whole; // position of the end of the last frame
    uint32_t order; // of the record last handed over
};

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
    struct audit_dialogue *dialogue; // RELP alone
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
    uint64_t torn[2];                    // per side: connections that ended inside a frame
    uint64_t settled[AUDIT_REFUSED + 1]; // records, by how
    uint64_t violations, disordered;
    uint64_t violations_late; // those met when there was reason to leave already
};

// Zeroed; gone with the run.
void *sim_audit_alloc(const struct sim_auditor *auditor, size_t bytes);
// One more item, zeroed.
void *sim_audit_add(struct sim_auditor *auditor, struct audit_array *array, size_t item_bytes);
// NULL: no producer has it.
struct audit_message *sim_audit_message(const struct sim_auditor *auditor, uint32_t producer,
                                        uint32_t sequence);
static inline bool sim_audit_relp(const struct sim_auditor *auditor)
{
    return auditor->options.framing == WEIR_FRAMING_RELP;
}
static inline struct audit_entry *sim_audit_entry(const struct sim_auditor *auditor,
                                                  uint32_t entry_plus_one)
{
    return (struct audit_entry *)auditor->entries.items + entry_plus_one - 1;
}
struct audit_connection *sim_audit_connection(const struct sim_auditor *auditor, uint32_t number);
// RELP, sent side: a connection begins; after each frame; after each send; a record is handed over.
void sim_audit_dialogue_begin(struct sim_auditor *auditor, struct audit_connection *connection);
void sim_audit_dialogue_frame(struct sim_auditor *auditor, struct audit_connection *connection);
void sim_audit_dialogue_send(struct sim_auditor *auditor, struct audit_connection *connection);
void sim_audit_dialogue_handed(struct sim_auditor *auditor, struct audit_connection *connection,
                               struct audit_entry *entry, uint32_t order);
// How many messages and gap records the promise has proof of.
uint64_t sim_audit_assured(const struct sim_auditor *auditor);
// Whether the promise, or a process's reading, has proof of this one.
bool sim_audit_message_assured(const struct sim_auditor *auditor,
                               const struct audit_message *message);

#endif
