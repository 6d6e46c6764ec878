// Probe: finds out whether an endpoint that is preferred to the one in use is up again.
//
// While a writer is connected to an endpoint to which others are preferred (route.h), its probe
// waits, looks the first of them up, connects to it, sends nothing, and watches that connection. If
// it stays open and without an error for failback_ms, the writer goes there. If not, the next
// address and then the next endpoint has its turn; after the last one the probe waits and starts
// over. The wait is one to two times failback_ms, drawn evenly, so that the writers that lost an
// endpoint in one moment do not all return in one moment; it is at least the retry interval.
//
// The way back is graceful. Sending stops at the next message boundary, our side of the connection
// in use is shut as at the end of an epoch, and when what was sent is proven the preferred one is
// looked up and dialled, at the address that was watched if the name still has it. It need not
// serve: a peer can accept and never read. Then the writer is away again as after any failure, and
// the next time it has to be up for twice as long, up to 32 times.
//
// What this costs a collector: a connection on which nothing comes, per writer and round. A
// datagram socket cannot be watched. One of Unix is asked, by connecting, whether anybody has it;
// UDP does not even say that: so nobody returns to a UDP endpoint before the one in use fails.
//
// Threads: the writer's task alone.
#ifndef WEIR_WRITER_PROBE_H
#define WEIR_WRITER_PROBE_H

#include "runtime/cold.h"
#include "weir.h"

struct weir_writer;

enum weir_probe_step {
    WEIR_PROBE_OFF,
    WEIR_PROBE_WAITING,
    WEIR_PROBE_RESOLVING,
    WEIR_PROBE_CONNECTING,
    WEIR_PROBE_HOLDING,
    WEIR_PROBE_UP // it was; the connection in use is being ended
};

// All-zero is valid: off.
struct weir_probe {
    enum weir_probe_step step;
    uint32_t place;    // in the writer's order: the endpoint looked at
    uint32_t endpoint; // its index
    uint32_t address;  // index into resolve.addresses
    uint32_t addresses_count;
    uint32_t doublings; // of the time it has to be up, after returns that came to nothing
    bool returned;      // the connection in use came of it, and is not yet known to serve
    uint64_t deadline_ns;
    struct weir_resolve resolve;
    struct weir_connect connect;
    struct weir_stream stream;
    struct weir_stream_ready readable;
};

// Moves it on and sets WEIR_ALARM_PROBE. Called while the writer is connected; starts by itself.
// Once the endpoint was up for long enough, transit.limit stops the sending, and what follows is
// the end of the connection as at the end of an epoch.
void weir_probe_look(struct weir_writer *writer, struct weir_context *context);

// Whether it is, so that the proof at the end of the connection in use is a reason to go there.
bool weir_probe_up(const struct weir_writer *writer);
// Then, once that connection is over: has route.endpoint say where to, and which address is first.
WEIR_COLD void weir_probe_return(struct weir_writer *writer);

// Lets go of everything; to be called when a connection is over and no other follows at once.
WEIR_COLD void weir_probe_drop(struct weir_writer *writer, struct weir_context *context);

// The connection in use, or the attempt at it, is over: whether it had served. For those that came
// of a return.
WEIR_COLD void weir_probe_judge(struct weir_writer *writer, bool served);

#endif
