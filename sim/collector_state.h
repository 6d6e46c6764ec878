// Inside a collector: its process and its connections.
//
// collector.c is the process, collector_connection.c what it does with each connection,
// collector_relp.c how it answers over RELP.
#ifndef WEIR_SIM_COLLECTOR_STATE_H
#define WEIR_SIM_COLLECTOR_STATE_H

#include "sim/collector.h"
#include "sim/sim.h"

// Connections of one collector at a time. A pool has one per writer; those it has left and this one
// has not read to their end come on top.
#define SIM_CONNECTIONS_MAX 64

struct collector_session; // collector_relp.c

struct collector_connection {
    int fd;                            // -1: free
    struct collector_session *session; // RELP; of this place, whatever connection has it
    uint32_t audited;
    enum sim_habit habit;
    uint64_t after; // bytes until the habit shows
    uint64_t read;
    uint64_t active_ns; // when it began, or was last read from
    uint64_t pause_until_ns;
    bool readable; // as far as is known: until -EAGAIN
    bool shown;    // the habit did what it does once
    bool reset;    // a send was told of it, and no other call will be
};

struct sim_collector {
    struct weir_sim *sim;
    const struct weir_os *os; // of no fault: only process 0 meets those
    struct sim_collector_options options;
    struct weir_address address;
    uint32_t process;
    bool alive, healed;
    uint64_t start_ns; // listens from then on
    uint64_t read_ns;  // when something was last read, or all became well
    uint32_t restarts, accepts, closes, refusals;
    int listener;
    struct weir_poller poller;
    struct collector_connection connections[SIM_CONNECTIONS_MAX];
};

static inline bool sim_collector_datagrams(const struct sim_collector *me)
{
    return me->options.kind == SIM_COLLECTOR_UNIX_DATAGRAM || me->options.kind == SIM_COLLECTOR_UDP;
}

static inline uint64_t sim_collector_now(const struct sim_collector *me)
{
    return sim_threads_now(me->sim->threads);
}

// Fails the run if a call that cannot fail has.
void sim_collector_must(const struct sim_collector *collector, int64_t result, const char *what);
// A length of time up to this: each order of magnitude is as likely as the next.
uint64_t sim_collector_time(const struct sim_collector *collector, uint64_t longest_ns);

// A connection, or the socket of datagrams, begins.
void sim_connection_begin(struct sim_collector *collector, int fd);
// Reads until there is nothing, or the habit says otherwise.
void sim_connection_read(struct sim_collector *collector, struct collector_connection *connection);
// The connection is over for the auditor; the descriptor may be gone already.
void sim_connection_over(struct sim_collector *collector, struct collector_connection *connection,
                         enum sim_end how);
void sim_connection_close(struct sim_collector *collector, struct collector_connection *connection,
                          enum sim_end how);
// A number below `bound`, drawn; 0 is nothing unusual.
uint32_t sim_collector_below(const struct sim_collector *collector, uint64_t bound);

// ---- RELP ----

// A session begins with its connection.
void sim_session_begin(struct sim_collector *collector, struct collector_connection *connection);
// Takes bytes that were read, and stored, as frames to be answered.
void sim_session_read(struct sim_collector *collector, struct collector_connection *connection,
                      const unsigned char *bytes, size_t count);
// Says what is due, as far as the socket takes it; may close the connection.
//   returns  when something is due next.
uint64_t sim_session_speak(struct sim_collector *collector,
                           struct collector_connection *connection);

#endif
