// The writer's side of its connection: dialing, sending, receiving, counting, the proof at the end.
//
// Each function does what an action or a look of watch.c needs on the socket, and leaves its
// result in the writer: transit, ledger, `blocked`, `broken`.
#ifndef WEIR_WRITER_LINK_H
#define WEIR_WRITER_LINK_H

#include "runtime/cold.h"
#include "writer/writer.h"

bool weir_link_is_unix(const struct weir_endpoint *endpoint);
// Whether the error means that this host is short of something.
WEIR_COLD bool weir_link_is_resource_error(int error);
// Whether confirmation leaves something that only the end-of-stream proof can tell.
bool weir_link_needs_proof(const struct weir_writer *writer);

// Starts looking an endpoint up; a Unix one is done at once, without the future.
WEIR_COLD void weir_link_resolve(struct weir_resolve *resolve,
                                 const struct weir_endpoint *endpoint);
// Starts connecting to resolve.addresses[address].
WEIR_COLD void weir_link_dial(struct weir_writer *writer);

// Sets the socket's options and starts its ledger.
WEIR_COLD void weir_link_begin(struct weir_writer *writer);

// Sends until nothing is left, the socket takes no more (`blocked`), a fair share is done, or it
// breaks (`broken`).
void weir_link_send(struct weir_writer *writer);

// Whether the next send has to wait until the last one is confirmed: after failures, so that what a
// peer reads before it dies is seen in time.
bool weir_link_waits(const struct weir_writer *writer);

// Adapts the size of sends to a connection that brought progress, or ended without any.
void weir_link_adapt(struct weir_writer *writer, bool progress);

// Reads and counts what the peer sent back; notices the end.
void weir_link_receive(struct weir_writer *writer, struct weir_context *context);

// What a send said, when it was not a count: notes what to wait for, or that it is over.
void weir_link_send_failed(struct weir_writer *writer, int error);

// Marks the connection as over, for a reason.
WEIR_COLD void weir_link_break(struct weir_writer *writer, enum weir_fault fault);

// Confirmed bytes of this connection, after a look / after the last look at a dead one.
uint64_t weir_link_sample(struct weir_writer *writer);
WEIR_COLD uint64_t weir_link_settle(struct weir_writer *writer);

// Says that no more will come; then, whether everything is proven.
WEIR_COLD void weir_link_shut(struct weir_writer *writer);
WEIR_COLD bool weir_link_proof(struct weir_writer *writer);

#endif
