// Epochs: proof by end of stream for TCP connections that go on.
//
// A TCP peer's kernel acknowledges bytes that its process has not read, and they are lost with the
// process; a collector that is told to stop closes over whole megabytes of them. Only the end of a
// stream proves that the process read it all (ledger.h). So, with confirm = peer on TCP, the writer
// confirms nothing by acknowledgement. It ends the connection after so many bytes or so long, waits
// for the proof, confirms the epoch, and goes on in a new connection. Order is kept, because
// nothing is sent meanwhile. A connection that ends by itself proves what was acknowledged if the
// peer's end of stream came first (it read to the end; a process that dies or closes with something
// unread sends a reset instead), and nothing otherwise: then the whole epoch is sent again.
//
// A peer that acknowledges everything but does not end its side within the stall timeout does not
// do epochs: from then on this writer takes the acknowledgements for it.
#ifndef WEIR_WRITER_EPOCH_H
#define WEIR_WRITER_EPOCH_H

#include "writer/writer.h"

// Whether the present connection is proven by epochs.
bool weir_epoch_used(const struct weir_writer *writer);

// Decides where the epoch ends, once there is reason: sets transit.limit to the next boundary of
// messages, where sending then stops.
void weir_epoch_look(struct weir_writer *writer);

// A peer that always dies before the end of an epoch proves nothing, and would get the same epoch
// again and again: so epochs get half as long then, and longer again with each proof.
void weir_epoch_adapt(struct weir_writer *writer, bool proven);

// Whether everything up to the epoch's end is sent.
static inline bool weir_epoch_full(const struct weir_writer *writer)
{
    return writer->transit.sent == writer->transit.limit;
}

#endif
