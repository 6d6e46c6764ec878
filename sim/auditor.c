// The auditor: its memory, and what the host does.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/audit.h"
#include "sim/limits.h"

// The arena keeps its account by process; only the first one's memory is looked at.
#define AUDIT_PROCESS (SIM_PROCESSES_MAX - 1)
#define AUDIT_REASON_BYTES 256

void *sim_audit_alloc(const struct sim_auditor *auditor, size_t bytes)
{
    uint32_t number;
    return sim_arena_alloc(auditor->options.arena, bytes, 16, false, AUDIT_PROCESS, &number);
}

// Makes room for one more item.  returns  it, zeroed.
void *sim_audit_add(struct sim_auditor *auditor, struct audit_array *array, size_t item_bytes)
{
    if (array->count == array->capacity) {
        uint32_t number, capacity = array->capacity == 0 ? 16 : 2 * array->capacity;
        void *items = sim_audit_alloc(auditor, capacity * item_bytes);
        weir_assert(items != NULL); // a simulation larger than its arena
        if (array->count > 0) {
            memcpy(items, array->items, array->count * item_bytes);
            (void)sim_arena_release(auditor->options.arena, array->items,
                                    array->capacity * item_bytes, &number);
        }
        array->items = items;
        array->capacity = capacity;
    }
    return (unsigned char *)array->items + array->count++ * item_bytes;
}

struct sim_auditor *sim_auditor_create(const struct sim_auditor_options *options)
{
    struct sim_auditor blank = {.options = *options, .promise = options->promise};
    size_t messages = (size_t)options->producers_count * options->messages_max;
    struct sim_auditor *auditor = sim_audit_alloc(&blank, sizeof(*auditor));
    blank.messages = sim_audit_alloc(&blank, (messages + 1) * sizeof(struct audit_message));
    if (auditor == NULL || blank.messages == NULL) {
        return NULL;
    }
    *auditor = blank;
    return auditor;
}

void sim_auditor_weaken(struct sim_auditor *auditor, enum sim_promise promise)
{
    auditor->promise = promise > auditor->promise ? promise : auditor->promise;
}

void sim_auditor_parting(struct sim_auditor *auditor)
{
    auditor->parting = true;
}

void sim_auditor_met(struct sim_auditor *auditor)
{
    if (auditor->parting) {
        sim_auditor_weaken(auditor, SIM_PROMISE_ACKNOWLEDGED);
    }
}

void sim_auditor_fail(struct sim_auditor *auditor, const char *name, const char *format, ...)
{
    char message[AUDIT_REASON_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    auditor->options.fail(auditor->options.context, name, message);
}

// ---- What the host does ----

struct audit_message *sim_audit_message(const struct sim_auditor *auditor, uint32_t producer,
                                        uint32_t sequence)
{
    if (producer >= auditor->options.producers_count || sequence >= auditor->options.messages_max) {
        return NULL;
    }
    return &auditor->messages[producer * auditor->options.messages_max + sequence];
}

void sim_auditor_offer(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence,
                       uint32_t bytes)
{
    struct audit_message *message = sim_audit_message(auditor, producer, sequence);
    weir_assert(message != NULL);
    weir_assert(message->state == AUDIT_UNKNOWN || message->state == AUDIT_HELD);
    if (message->state == AUDIT_UNKNOWN) {
        auditor->offered++;
        message->late = auditor->closed;
    }
    message->state = AUDIT_OFFERED;
    message->bytes = bytes;
}

static void message_took(struct sim_auditor *auditor, struct audit_message *message)
{
    if (message->late) {
        sim_auditor_fail(auditor, "alive-after-close", "a message was taken after the close");
    }
    auditor->accepted++;
    message->serial = (uint32_t)auditor->accepted;
}

void sim_auditor_hold(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence)
{
    struct audit_message *message = sim_audit_message(auditor, producer, sequence);
    weir_assert(message != NULL && message->state == AUDIT_OFFERED && !message->held);
    message->state = AUDIT_HELD;
    message->held = true;
    auditor->held++;
    message_took(auditor, message);
}

static void rejected(struct sim_auditor *auditor, uint32_t bytes, int error)
{
    enum weir_rejection reason;
    switch (error) {
    case WEIR_EFULL:
        reason = WEIR_REJECTED_FULL;
        auditor->rejected_full_bytes += bytes;
        break;
    case WEIR_ETOOBIG: reason = WEIR_REJECTED_TOO_BIG; break;
    case WEIR_EDELIMITER: reason = WEIR_REJECTED_DELIMITER; break;
    case WEIR_ECLOSED: reason = WEIR_REJECTED_CLOSED; break;
    case WEIR_EFORKED: reason = WEIR_REJECTED_FORKED; break;
    case -EINVAL: reason = WEIR_REJECTED_EMPTY; break;
    default:
        sim_auditor_fail(auditor, "books-unbalanced", "a message was answered with %d", error);
        return;
    }
    auditor->rejected[reason]++;
    if (reason == WEIR_REJECTED_CLOSED && !auditor->closing) {
        sim_auditor_fail(auditor, "books-unbalanced", "an open pool answered that it is closed");
    }
}

void sim_auditor_answer(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence,
                        int error)
{
    struct audit_message *message = sim_audit_message(auditor, producer, sequence);
    weir_assert(message != NULL && message->state == AUDIT_OFFERED);
    if (message->held) { // the commit's answer
        auditor->held--;
        message->state = error == 0 ? AUDIT_ACCEPTED : AUDIT_ABANDONED;
        auditor->abandoned += error == 0 ? 0 : 1;
    } else if (error == 0) {
        message->state = AUDIT_ACCEPTED;
        message_took(auditor, message);
    } else {
        message->state = AUDIT_REJECTED;
        rejected(auditor, message->bytes, error);
    }
    bool seen = message->connection[SIM_SIDE_SENT] != 0 || message->connection[SIM_SIDE_READ] != 0;
    if (seen && error != 0) {
        sim_auditor_fail(auditor, "delivered-though-rejected",
                         "message %u of producer %u was delivered and then answered with %d",
                         sequence, producer, error);
    }
}

void sim_auditor_abandon(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence)
{
    struct audit_message *message = sim_audit_message(auditor, producer, sequence);
    weir_assert(message != NULL && message->state == AUDIT_HELD);
    message->state = AUDIT_ABANDONED;
    auditor->held--;
    auditor->abandoned++;
}

void sim_auditor_nonsense(struct sim_auditor *auditor, uint32_t bytes, int error)
{
    auditor->offered++;
    if (error == 0) {
        sim_auditor_fail(auditor, "books-unbalanced", "%u bytes of nonsense were accepted", bytes);
        return;
    }
    rejected(auditor, bytes, error);
}
