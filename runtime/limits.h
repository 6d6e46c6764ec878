// Every bound of the runtime, each with its reason. The writer's are in writer/limits.h.
#ifndef WEIR_RUNTIME_LIMITS_H
#define WEIR_RUNTIME_LIMITS_H

#ifdef WEIR_LIMITS_TINY
// Small bounds make rare paths common: the same tests on this build meet overflow, wrap and steal
// at every step.
#define WEIR_QUEUE_SLOTS 4
#define WEIR_BUDGET 4
#define WEIR_POLLS_BETWEEN_LOOKS 3
#define WEIR_LIFO_POLLS_MAX 2
#define WEIR_LOOKUPS_MAX 3
#define WEIR_GATHER_READS_MAX 1
#else
// A worker's run queue: 8 KiB of pointers, a quarter of a first-level cache; overflow goes to the
// mailbox. Busy tasks in the ring get a turn for each share of the mailbox that fits beside them:
// in a short ring they hold up a long mailbox.
#define WEIR_QUEUE_SLOTS 1024
// Readiness operations one poll may complete before it must yield, so that a socket that is always
// ready cannot starve its neighbours.
#define WEIR_BUDGET 128
// Polls between two looks at mailbox, timers and poller, which cost about as much as a few short
// polls do: bounds how late they are noticed.
#define WEIR_POLLS_BETWEEN_LOOKS 61
// Tasks run from the LIFO slot in a row before the queue gets its turn: two tasks that wake each
// other would otherwise keep the worker to themselves.
#define WEIR_LIFO_POLLS_MAX 3
// Name lookups waiting or under way at once in one runtime; more are refused and tried again.
#define WEIR_LOOKUPS_MAX 64
// A clock that stands still, as a simulator's may, is read so often at most.
#define WEIR_GATHER_READS_MAX 64
#endif

// Worker threads of one runtime. More than the largest hosts have cores is a mistake.
#define WEIR_WORKERS_MAX 64
// With fewer tasks in its ring than this a worker looks sooner, if its mailbox is not empty: after
// one run of the LIFO slot.
#define WEIR_RING_SHORT 4
// Polls that are longer leave time for fewer of them between two looks, down to one.
#define WEIR_LOOK_NS 20000u
// ... and between two looks at the poller, a system call that costs as much as a few other polls.
#define WEIR_LOOK_POLLER_NS 100000u
// After a draw from a mailbox of fewer tasks than this, a worker lets more come for so long before
// it draws again: about as long as sending ten takes, a small part of what falling asleep does.
#define WEIR_TRICKLE_MAX 32
#define WEIR_GATHER_NS 400
// Events taken from the poller at once; the rest come with the next call.
#define WEIR_EVENTS_MAX 64
// A task's cell: header and frame. Classes are powers of two from 128 bytes to this.
#define WEIR_CELL_BYTES_MIN 128
#define WEIR_CELL_BYTES_MAX 8192
// Cells come in blocks of this size, aligned to it, so that a cell's owner is one mask away.
#define WEIR_BLOCK_BYTES 65536
// Sockets watched at once by one runtime.
#define WEIR_SOURCES_MAX 65536
// Addresses kept of one name.
#define WEIR_ADDRESSES_MAX 8
// Host names: RFC 1035 allows 255 octets on the wire, 253 in text.
#define WEIR_HOST_BYTES_MAX 256

_Static_assert((WEIR_QUEUE_SLOTS & (WEIR_QUEUE_SLOTS - 1)) == 0, "queue indices wrap by mask");
_Static_assert(WEIR_LIFO_POLLS_MAX < WEIR_BUDGET, "a LIFO run fits into one budget");

#endif
