// Answers one question about one connection: how many of the bytes handed to it are confirmed.
#ifndef WEIR_WRITER_LEDGER_H
#define WEIR_WRITER_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/cold.h"

// Model. The writer hands bytes to the kernel and feeds what the kernel says about them in here:
// the size of each successful send, the outstanding count (SIOCOUTQ), whether the connection still
// lived, and every error. Out comes a count of confirmed bytes, from the start of the connection,
// that never falls and never passes what was written. Pure: no clock, no I/O, no pointers.
//
// SENT confirms what the kernel took. That is no proof of anything; it is what was asked for.
//
// TCP: outstanding is the byte-exact distance from the last acknowledged byte to the last written
// one, so written - outstanding bytes are in the peer's kernel. The two sequence numbers behind it
// survive a reset and a timeout, so one more look at the dead socket is valid too. Our own FIN
// counts as one outstanding byte at the end. It is deliberately not subtracted: whether the kernel
// queued a FIN at all cannot be seen (the connection may have died first), and the price is that
// the very last byte is confirmed together with the FIN instead of shortly before.
//
// UNIX (stream): outstanding is the memory, not the payload, of our buffers in the peer's queue.
// A buffer leaves when the peer has copied its last byte, or is thrown away when the peer closes.
// (Linux, net/unix/af_unix.c: unix_stream_sendmsg charges skb->truesize to the sender,
// unix_stream_read_generic frees an skb only when nothing of it is left, unix_outq_len reports the
// sum, unix_release_sock is the peer's death.) Each send is one unit {end, cost}, kept in order:
//
//   1. cost <= the true memory t of that unit. The count only falls between our sends, so after a
//      send it is at most (count before) + t; hence (after - before) <= t. And payload <= t.
//      The larger of the two is the cost. No constant of the kernel is assumed.
//   2. What the peer has not fully read is a suffix of the units, because it reads in order; and
//      the count is at least the true memory of that suffix (for an instant one more, while the
//      kernel frees a buffer in two steps).
//   3. So, if the oldest unread unit is u, the costs of all units younger than u add up to less
//      than the count. The ledger drops its oldest unit only while the costs of the rest still
//      reach the count: it always stops at u or before. What was dropped, the peer PROCESS has
//      read.
//   4. Coarser, without any units: memory is at least payload, so no more than `outstanding` bytes
//      are unread. Where a reader hid a cost in step 1 this can be the better bound; the larger
//      counts.
//   5. All this needs a count that was lowered by reading and not by dying. A dying peer (a) is
//      marked dead, so that no send succeeds any more, (b) marks our socket as hung up and, if
//      anything was unread, puts ECONNRESET on it, and (c) only then throws its queue away. A count
//      followed by a look that finds no hang-up was therefore taken before (c). The other order
//      proves nothing.
//   6. The end is itself a proof: a count of zero FOLLOWED by no pending ECONNRESET means that the
//      queue was emptied by reading. The error is shown once, to whichever call comes first, so
//      every error from every call must have been given to weir_ledger_error. There is one that no
//      call shows: a send of several buffers that finds the peer dead between two of them takes the
//      error and returns the bytes so far. So after a send that was cut short the end proves
//      nothing, until the connection was seen alive again.
//
// Assumed: one process writes to the socket, from the first byte on. (The bytes of another would
// only cost precision: they stand in the same queue behind the unit before them, so in step 3 they
// are in the count whenever that unit is unread, and a count that rises by itself confirms less.
// But a send of his that fails halfway gives memory back unread.) A peer that takes bytes out with
// splice() has "read" them when they are in its pipe.

// 278 smallest writes fill a Unix socket of default size (212,992 bytes at 768 each); about twice
// that leaves room for units already read and not yet looked at. 8 KiB per connection.
#define WEIR_LEDGER_UNITS_MAX 512

enum weir_ledger_kind { WEIR_LEDGER_SENT, WEIR_LEDGER_UNIX, WEIR_LEDGER_TCP };

// How far the proof at the end has come. Each step is asserted to follow the one before.
enum weir_ledger_step {
    WEIR_LEDGER_OPEN,   // sending
    WEIR_LEDGER_SHUT,   // we said that no more will come
    WEIR_LEDGER_ENDED,  // then: the peer's end of stream was read
    WEIR_LEDGER_EMPTY,  // then: nothing was outstanding
    WEIR_LEDGER_PROVEN, // then: no error was pending
    WEIR_LEDGER_OVER,   // the connection is over, with that proof or without
};

struct weir_ledger_unit {
    uint64_t end;  // bytes written to the connection up to and including this unit
    uint64_t cost; // a lower bound of the kernel memory it occupies while unread
};

struct weir_ledger {
    uint64_t written;     // bytes handed to the kernel
    uint64_t confirmed;   // <= written
    uint64_t outstanding; // the count after the last send or sample
    uint64_t cost;        // sum over the units
    uint32_t kind;        // enum weir_ledger_kind
    uint32_t step;        // enum weir_ledger_step
    uint32_t first;       // place of the oldest unit; runs on, the ring takes it modulo its size
    uint32_t count;       // units in the ring
    bool reset;           // latched: an error that can stand for unread bytes
    bool gone;            // latched: hung up; counts no longer speak of reading
    bool cut;             // UNIX: the last send was cut short, and perhaps by the peer's death
    bool ended_early;     // latched: end of stream before our own shutdown
    struct weir_ledger_unit units[WEIR_LEDGER_UNITS_MAX];
};

// Starts the books of a new connection, on which nothing has been sent yet.
WEIR_COLD void weir_ledger_init(struct weir_ledger *ledger, enum weir_ledger_kind kind);

// The count after a send that was not counted. Its cost is its payload, which is all but a few
// hundredths of it where the send was large; the count before it does for no send after it.
#define WEIR_LEDGER_UNCOUNTED UINT64_MAX

// Notes a successful send.
// Units: outstanding_after is the count taken right after that send, or WEIR_LEDGER_UNCOUNTED; UNIX
// only, others pass 0.
void weir_ledger_sent(struct weir_ledger *ledger, uint64_t bytes, uint64_t outstanding_after);

// Notes that the send just noted took fewer bytes than it was given.
void weir_ledger_cut_short(struct weir_ledger *ledger);

// Takes a count and draws the conclusion.
// UNIX: `alive` must come from a poll made AFTER the count (a sequentially consistent fence
// between the two), true when it showed neither hang-up nor error; a count with alive == false is
// thrown away, as are all later ones. TCP: alive is ignored; never before connect has completed.
// Returns the confirmed bytes.
uint64_t weir_ledger_sample(struct weir_ledger *ledger, uint64_t outstanding, bool alive);

// Tells of an error (an errno, with either sign) from any call on the socket: send, receive,
// SO_ERROR. Those that cannot stand for lost bytes (0, EAGAIN, EINTR, no memory; EPIPE on UNIX) are
// ignored.
WEIR_COLD void weir_ledger_error(struct weir_ledger *ledger, int error);

// Ends the books of a connection that is over, or is being given up. Take the count first and
// SO_ERROR after it: a dying Unix peer sets the error, then empties the queue. Nothing may be sent
// after.
// Returns the final count of confirmed bytes; what lies beyond it must be sent again.
WEIR_COLD uint64_t weir_ledger_died(struct weir_ledger *ledger, uint64_t outstanding, int so_error);

// The proof that everything was read, for an orderly end. Four steps, in this order; calling one
// out of turn is an assertion. UNIX: no condition. TCP: holds for a peer that does not call
// shutdown() itself before it has read to the end; where such an end of stream was seen early,
// nothing is proven.
//   shutdown(SHUT_WR) returned 0          -> weir_ledger_shutdown
//   recv returned 0, after that           -> weir_ledger_end_of_stream (legal before, as a warning)
//   outstanding count, after that         -> weir_ledger_emptied; while false, count again later
//   SO_ERROR, after that, no call between -> weir_ledger_proven
WEIR_COLD void weir_ledger_shutdown(struct weir_ledger *ledger);
WEIR_COLD void weir_ledger_end_of_stream(struct weir_ledger *ledger);

// Returns whether nothing was outstanding, so that SO_ERROR is the next thing to read.
WEIR_COLD bool weir_ledger_emptied(struct weir_ledger *ledger, uint64_t outstanding);

// Returns whether the peer process read everything; then all that was written is confirmed.
WEIR_COLD bool weir_ledger_proven(struct weir_ledger *ledger, int so_error);

#endif
