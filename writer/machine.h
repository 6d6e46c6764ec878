// The writer's state machine: one table, pure. What a writer does next is decided here alone.
//
// (state, event, guard) -> (state, action). The events are what the writer (watch.c) has seen, the
// actions what it must do; the machine itself does no I/O, reads no clock, holds no memory. Every
// combination is in exactly one row of the table in machine.c; the impossible ones are rows too,
// and reaching one is an assertion.
#ifndef WEIR_WRITER_MACHINE_H
#define WEIR_WRITER_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/cold.h"

// X(name, label, meaning)
#define WEIR_MACHINE_STATES(X)                                                                     \
    X(WEIR_STATE_DOWN, "down", "no connection; waits before the next attempt")                     \
    X(WEIR_STATE_RESOLVING, "resolving", "asks for the addresses of the endpoint")                 \
    X(WEIR_STATE_DIALING, "dialing", "connects to one of them")                                    \
    X(WEIR_STATE_OPENING, "opening", "connected; the session on it is being opened")               \
    X(WEIR_STATE_READY, "ready", "connected; nothing waits to be sent")                            \
    X(WEIR_STATE_SENDING, "sending", "connected; something waits to be sent")                      \
    X(WEIR_STATE_DRAINING, "draining", "our side is shut; waits for the proof of what was sent")   \
    X(WEIR_STATE_CLOSED, "closed", "the end; the writer's task is over")

#define WEIR_MACHINE_EVENTS(X)                                                                     \
    X(WEIR_EVENT_RETRY, "retry", "the wait is over")                                               \
    X(WEIR_EVENT_RESOLVED, "resolved", "there is an address")                                      \
    X(WEIR_EVENT_CONNECTED, "connected", "the connection stands")                                  \
    X(WEIR_EVENT_FAILED, "failed", "the attempt failed, or took too long")                         \
    X(WEIR_EVENT_OPENED, "opened", "messages may be sent")                                         \
    X(WEIR_EVENT_WORK, "work", "there is something to send, and room to send it")                  \
    X(WEIR_EVENT_SENT_ALL, "sent_all", "everything taken so far is sent")                          \
    X(WEIR_EVENT_BROKEN, "broken", "the connection is over: error, end of stream, stall")          \
    X(WEIR_EVENT_ROTATE, "rotate", "the epoch is over, or a preferred endpoint is back")           \
    X(WEIR_EVENT_FINISH, "finish", "closing, and nothing is left that was not sent")               \
    X(WEIR_EVENT_PROVEN, "proven", "the peer has everything, as far as can be known")              \
    X(WEIR_EVENT_LEAVE, "leave", "the same, and a preferred endpoint is back")                     \
    X(WEIR_EVENT_DEADLINE, "deadline", "the time for closing is over")

// What is known beside the state.
#define WEIR_MACHINE_GUARDS(X)                                                                     \
    X(WEIR_GUARD_HELD, "held", "something accepted is not confirmed, or may still come")           \
    X(WEIR_GUARD_CLEAR, "clear", "closing, and nothing is held")

#define WEIR_MACHINE_ACTIONS(X)                                                                    \
    X(WEIR_ACTION_RESOLVE, "resolve", "look the endpoint up")                                      \
    X(WEIR_ACTION_DIAL, "dial", "connect, with a time limit")                                      \
    X(WEIR_ACTION_BEGIN, "begin", "new ledger; sending resumes at the first unconfirmed message")  \
    X(WEIR_ACTION_SEND, "send", "gather segments and send")                                        \
    X(WEIR_ACTION_REST, "rest", "nothing to do until more comes")                                  \
    X(WEIR_ACTION_BACK_OFF, "back_off", "close the attempt and wait before the next")              \
    X(WEIR_ACTION_BREAK, "break", "end the ledger, close, and wait before the next attempt")       \
    X(WEIR_ACTION_SHUT, "shut", "shut our side of the connection and wait for the other's")        \
    X(WEIR_ACTION_TURN, "turn", "close what is proven and dial the same address again")            \
    X(WEIR_ACTION_MOVE, "move", "close what is proven and look the preferred endpoint up")         \
    X(WEIR_ACTION_END, "end", "close; what is still held is dropped and counted")                  \
    X(WEIR_ACTION_IMPOSSIBLE, "impossible", "abort")

#define WEIR_MACHINE_ENUM(name, label, meaning) name,
enum weir_state { WEIR_MACHINE_STATES(WEIR_MACHINE_ENUM) WEIR_STATES_COUNT };
enum weir_event { WEIR_MACHINE_EVENTS(WEIR_MACHINE_ENUM) WEIR_EVENTS_COUNT };
enum weir_guard { WEIR_MACHINE_GUARDS(WEIR_MACHINE_ENUM) WEIR_GUARDS_COUNT };
enum weir_action { WEIR_MACHINE_ACTIONS(WEIR_MACHINE_ENUM) WEIR_ACTIONS_COUNT };
#undef WEIR_MACHINE_ENUM

// A row: applies to every state in `from`, every event in `events`, every guard in `guards` (sets:
// bit i for value i).
struct weir_machine_row {
    char letter;
    uint32_t from;
    uint32_t events;
    uint32_t guards;
    enum weir_state to;
    enum weir_action action;
};

// The table, for the interpreter, the test that walks it, and the documentation.
WEIR_COLD size_t weir_machine_rows(const struct weir_machine_row **rows);

struct weir_machine_step {
    enum weir_state to;
    enum weir_action action;
};

// Looks the row up. Reaching an impossible one is an assertion.
struct weir_machine_step weir_machine_step(enum weir_state state, enum weir_event event,
                                           enum weir_guard guard);

WEIR_COLD const char *weir_state_label(enum weir_state state);

#endif
