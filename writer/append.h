// The way in: frames a message straight into the segment it will be sent from.
//
// This is what a logging thread runs, but for the messages that log.c puts in by itself. Per
// message: one pass over the bytes if the framing needs it, two read-modify-writes (reserve,
// commit), one load, the copy. Per segment: two clock readings. A system call only to wake a writer
// that is in deep idle or short of segments.
//
// Pairs of release and acquire:
// [B4] adding to what was lost, its messages last (release), with taking them for a record
//      (acquire): their bytes and times are seen.
// [B5] ending a record that was thrown away (release) with the task's look for it (acquire): what
//      it told is part of the loss again.
#ifndef WEIR_WRITER_APPEND_H
#define WEIR_WRITER_APPEND_H

#include "writer/writer.h"

// What goes in is measured, reserved and put, each by one of these.            threads  any.

// How long the frame of a message will be.
//   returns  0; WEIR_ETOOBIG; WEIR_EDELIMITER; -EINVAL: it is empty.
WEIR_MUST_USE int weir_append_measure(const struct weir_writer *writer, uint8_t severity,
                                      const struct weir_iovec *parts, size_t parts_count,
                                      size_t *frame_bytes);
// Reserves room for a frame; under drop-oldest makes room first.
//   returns  0; WEIR_EFULL; WEIR_ETOOBIG; WEIR_ECLOSED.
WEIR_MUST_USE int weir_append_reserve(struct weir_writer *writer, size_t frame_bytes,
                                      struct weir_reservation *reservation);
// Frames the message into what was reserved for it, and commits it.
void weir_append_put(struct weir_writer *writer, uint8_t severity, const struct weir_iovec *parts,
                     size_t parts_count, const struct weir_reservation *reservation);
// Ends it with so many bytes, or WEIR_SEGMENT_VOID, and wakes the writer where that is due.
void weir_append_commit(struct weir_writer *writer, const struct weir_reservation *reservation,
                        uint32_t frame_bytes);

// Notes messages that were lost to a full buffer.                       threads  any.
void weir_append_note_loss(struct weir_writer *writer, uint64_t messages, uint64_t bytes);
// Puts a gap record in if something was lost that none tells of. One at a time is under way: until
// it is confirmed its figures are remembered, and are part of the loss again if it is dropped.
//   threads  the writer's task.
void weir_append_gap(struct weir_writer *writer);

#endif
