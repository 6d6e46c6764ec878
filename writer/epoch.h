// Epochs: proof by end of stream for TCP connections that go on.
//
// A TCP peer's kernel acknowledges bytes that its process has not read, and they are lost with the
// process; a collector that is told to stop closes over whole megabytes of them. Only the end of a
// stream proves that the process read it all (ledger.h). So, with confirm = peer on TCP, the writer
// confirms nothing by acknowledgement. It ends the connection after so many bytes or so long, waits
// for the proof, confirms the epoch, and goes on in a new connection. Order is kept, because
// nothing is sent meanwhile.
//
// A connection that the peer ends proves what was acknowledged if its end of stream came without a
// reset: then it had read everything. One that dies or closes over unread data sends a reset, also
// where it calls shutdown first; therefore the writer waits a moment after an end of stream to see
// whether a reset follows. After a reset nothing is proven, and the whole epoch is sent again.
// What is left is a peer that calls shutdown over unread data and closes only much later, or at the
// very moment at which the writer itself ends the epoch.
//
// A peer that acknowledges everything but does not end its side within the stall timeout does not
// do epochs: from then on this writer takes the acknowledgements for it.
#ifndef WEIR_WRITER_EPOCH_H
#define WEIR_WRITER_EPOCH_H

#include "runtime/cold.h"
#include "writer/writer.h"

// Whether the present connection is proven by epochs.
bool weir_epoch_used(const struct weir_writer *writer);

// Decides where the epoch ends, once there is reason: sets transit.limit to the next boundary of
// messages, where sending then stops.
void weir_epoch_look(struct weir_writer *writer);

// A peer that always dies before the end of an epoch proves nothing, and would get the same epoch
// again and again: so epochs get half as long then, and longer again with each proof.
WEIR_COLD void weir_epoch_adapt(struct weir_writer *writer, bool proven);

// Whether everything up to the epoch's end is sent.
static inline bool weir_epoch_full(const struct weir_writer *writer)
{
    return writer->transit.sent == writer->transit.limit;
}

#endif
