// A writer's RELP session on its connection: opening, numbers, answers, closing (relp.h).
//
// Other protocols have no session: its state is WEIR_SESSION_NONE and each function says at once
// what lets the writer go on. A session begins with every connection; on it what was not
// answered on the one before is sent again, under new numbers, and with it what was answered out of
// order behind that.
//
// Threads: the writer's task alone.
#ifndef WEIR_WRITER_SESSION_H
#define WEIR_WRITER_SESSION_H

#include "runtime/cold.h"
#include "writer/writer.h"

// The connection stands: queues the frame that opens the session; nothing may be sent before its
// answer.
WEIR_COLD void weir_session_begin(struct weir_writer *writer);
// Whether a frame of the session's own is still to be sent; and sending it.
WEIR_COLD bool weir_session_unsent(const struct weir_writer *writer);
WEIR_COLD void weir_session_send(struct weir_writer *writer);

// Gives numbers to messages as far as the window goes: that far they may be sent.
void weir_session_admit(struct weir_writer *writer);
// Reads what the server says: confirms or drops what it answers for, breaks the connection where
// it refuses, ends the session or violates the protocol.
void weir_session_read(struct weir_writer *writer, const unsigned char *bytes, size_t bytes_count);

// Everything was sent: queues the frame that closes the session.
WEIR_COLD void weir_session_shut(struct weir_writer *writer);
// Whether all that was sent is answered, and the server has ended the session, or been given time.
WEIR_COLD bool weir_session_proof(struct weir_writer *writer);
// The connection is over: takes the answers that have arrived and were not read.
WEIR_COLD void weir_session_settle(struct weir_writer *writer);

#endif
