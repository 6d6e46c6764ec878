// The auditor: what collectors answered over RELP, and what the pool makes of it.
//
// It stands where the pool reads: an answer counts once the pool's process has taken its last byte
// from the socket. A record is settled when it, and all that were sent before it on the connection,
// were answered with 200, or otherwise where that drops it. Settled records never go out again; the
// first that is not settled is where the next connection begins.
#include <string.h>

#include "runtime/assert.h"
#include "sim/audit.h"

#define CODE_ACCEPTED 200
// A server that says more at once is none.
#define ANSWER_LENGTH_MAX (128u << 10)

void sim_audit_dialogue_begin(struct sim_auditor *auditor, struct audit_connection *connection)
{
    struct audit_dialogue *dialogue = connection->dialogue;
    if (dialogue == NULL) {
        dialogue = sim_audit_alloc(auditor, sizeof(*dialogue));
        weir_assert(dialogue != NULL);
    }
    *dialogue = (struct audit_dialogue){.opened = false};
    sim_relp_frame_init(&dialogue->frame, dialogue->data, sizeof(dialogue->data),
                        ANSWER_LENGTH_MAX);
    connection->dialogue = dialogue;
}

// ---- What the pool sends ----

// One message may lie beyond the bytes of the window: `newest` of them are its.
static void dialogue_window(struct sim_auditor *auditor, const struct audit_dialogue *dialogue,
                            uint32_t messages, uint64_t bytes_before)
{
    const struct sim_auditor_options *options = &auditor->options;
    if (!dialogue->opened) {
        sim_auditor_fail(auditor, "sent-before-open",
                         "a message was sent before the open's answer");
    } else if (messages > options->window_messages || bytes_before > options->window_bytes) {
        sim_auditor_fail(auditor, "window-exceeded",
                         "%u messages without an answer, %llu bytes before the last, of %u and %u",
                         messages, (unsigned long long)bytes_before, options->window_messages,
                         options->window_bytes);
    }
}

static uint8_t *record_settled(const struct sim_auditor *auditor, uint32_t record)
{
    if (record >= AUDIT_GAP) {
        return &((struct audit_gap *)auditor->gaps.items)[record - AUDIT_GAP].settled;
    }
    return &auditor->messages[record].settled;
}

static bool record_read(const struct sim_auditor *auditor, uint32_t record)
{
    if (record >= AUDIT_GAP) {
        return ((const struct audit_gap *)auditor->gaps.items)[record - AUDIT_GAP].read;
    }
    return auditor->messages[record].read;
}

void sim_audit_dialogue_handed(struct sim_auditor *auditor, struct audit_connection *connection,
                               struct audit_entry *entry, uint32_t order)
{
    struct audit_dialogue *dialogue = connection->dialogue;
    uint64_t settled = auditor->settled[AUDIT_CONFIRMED] + auditor->settled[AUDIT_REFUSED];
    entry->number = connection->frame.number;
    entry->bytes = (uint32_t)(connection->bytes - dialogue->whole);
    if (*record_settled(auditor, entry->record) != AUDIT_UNSETTLED) {
        sim_auditor_fail(auditor, "duplicate-of-confirmed",
                         "the %u-th record was sent again, though it had been answered", order);
    } else if (auditor->options.writers_count == 1) {
        // One writer's records are settled in the order in which they were first sent.
        uint64_t wanted = dialogue->order == 0 ? settled + 1 : dialogue->order + 1;
        if (order != wanted) {
            sim_auditor_fail(auditor, order > wanted ? "skipped-message" : "order-broken",
                             "the %u-th record was sent where the %llu-th had to be", order,
                             (unsigned long long)wanted);
        }
    }
    dialogue->order = order;
    dialogue_window(auditor, dialogue, dialogue->unanswered_messages + 1,
                    dialogue->unanswered_bytes);
    dialogue->unanswered_messages++;
    dialogue->unanswered_bytes += entry->bytes;
}

void sim_audit_dialogue_frame(struct sim_auditor *auditor, struct audit_connection *connection)
{
    (void)auditor;
    connection->dialogue->whole = connection->bytes;
}

void sim_audit_dialogue_send(struct sim_auditor *auditor, struct audit_connection *connection)
{
    const struct audit_dialogue *dialogue = connection->dialogue;
    if (dialogue->lost) {
        sim_auditor_fail(auditor, "talks-to-the-lost",
                         "%llu bytes in, it sent on after a violation or a goodbye",
                         (unsigned long long)connection->bytes);
    } else if (sim_frame_inside_message(&connection->frame)) {
        dialogue_window(auditor, dialogue, dialogue->unanswered_messages + 1,
                        dialogue->unanswered_bytes);
    }
}

// ---- What the pool reads ----

static bool dialogue_drops(const struct sim_auditor *auditor)
{
    return auditor->options.refused == WEIR_REFUSED_DROP;
}

// Takes what is settled by now from the front.
static void dialogue_settle(struct sim_auditor *auditor, struct audit_connection *connection)
{
    while (connection->entries_first != 0) {
        const struct audit_entry *entry = sim_audit_entry(auditor, connection->entries_first);
        bool accepted = entry->code == CODE_ACCEPTED;
        if (entry->code == 0 || (!accepted && !dialogue_drops(auditor))) {
            return;
        }
        enum audit_settlement how = accepted ? AUDIT_CONFIRMED : AUDIT_REFUSED;
        *record_settled(auditor, entry->record) = (uint8_t)how;
        auditor->settled[how]++;
        connection->entries_first = entry->next;
        connection->entries_last = entry->next == 0 ? 0 : connection->entries_last;
    }
}

// returns  false: nobody waits for this answer.
static bool dialogue_answer(struct sim_auditor *auditor, struct audit_connection *connection,
                            uint32_t number, uint32_t code)
{
    struct audit_dialogue *dialogue = connection->dialogue;
    bool overtakes = false;
    uint32_t at = connection->entries_first;
    while (at != 0 && sim_audit_entry(auditor, at)->number != number) {
        overtakes = overtakes || sim_audit_entry(auditor, at)->code == 0;
        at = sim_audit_entry(auditor, at)->next;
    }
    struct audit_entry *entry = at == 0 ? NULL : sim_audit_entry(auditor, at);
    if (entry == NULL || entry->code != 0) {
        return false;
    }
    if (!record_read(auditor, entry->record)) {
        sim_auditor_fail(auditor, "phantom-answer", "frame %u was answered before it was read",
                         number);
    }
    entry->code = code;
    auditor->disordered += overtakes ? 1 : 0;
    dialogue->unanswered_messages--;
    dialogue->unanswered_bytes -= entry->bytes;
    dialogue->excused = dialogue->excused || (code != CODE_ACCEPTED && !dialogue_drops(auditor));
    dialogue_settle(auditor, connection);
    return true;
}

// Whether the answer agrees to a session of version 0 in which messages may be sent.
static bool dialogue_agrees(const struct audit_dialogue *dialogue)
{
    uint32_t count = dialogue->frame.count;
    count = count < AUDIT_ANSWER_BYTES ? count : AUDIT_ANSWER_BYTES;
    static const char version[] = "\nrelp_version=0", syslog[] = "\ncommands=syslog";
    return sim_relp_frame_code(&dialogue->frame) == CODE_ACCEPTED &&
           memmem(dialogue->data, count, version, sizeof(version) - 1) != NULL &&
           memmem(dialogue->data, count, syslog, sizeof(syslog) - 1) != NULL;
}

// A whole frame.  returns  false: it is a violation.
static bool dialogue_heard(struct sim_auditor *auditor, struct audit_connection *connection)
{
    struct audit_dialogue *dialogue = connection->dialogue;
    const struct sim_relp_frame *frame = &dialogue->frame;
    if (frame->number == 0) { // a hint
        dialogue->lost = dialogue->excused = sim_relp_frame_is(frame, "serverclose");
        return true;
    }
    const struct sim_frame *sent = &connection->frame;
    if (!sim_relp_frame_is(frame, "rsp") || !sent->opened) {
        return false;
    }
    if (!dialogue->opened) {
        dialogue->opened = frame->number == 1 && dialogue_agrees(dialogue);
        dialogue->excused = !dialogue->opened;
        dialogue->lost = dialogue->excused;
        return frame->number == 1;
    }
    if (sent->use == SIM_FRAME_CLOSE && frame->number == sent->number) {
        bool first = !dialogue->answered;
        dialogue->answered = true;
        return first;
    }
    uint32_t code = sim_relp_frame_code(frame);
    return code != 0 && dialogue_answer(auditor, connection, frame->number, code);
}

void sim_auditor_received(struct sim_auditor *auditor, uint32_t number, const void *bytes,
                          size_t bytes_count, bool over)
{
    struct audit_connection *connection = sim_audit_connection(auditor, number);
    struct audit_dialogue *dialogue = connection->dialogue;
    const unsigned char *at = bytes, *end = at + bytes_count;
    while (at < end && !dialogue->lost) {
        size_t used;
        enum sim_relp_result result =
            sim_relp_frame_feed(&dialogue->frame, at, (size_t)(end - at), &used);
        at += used;
        bool violated = result == SIM_RELP_BAD ||
                        (result == SIM_RELP_WHOLE && !dialogue_heard(auditor, connection));
        if (violated) {
            auditor->violations++;
            auditor->violations_late += over ? 1 : 0;
            dialogue->lost = dialogue->excused = true;
        }
        if (result == SIM_RELP_WHOLE) {
            sim_relp_frame_next(&dialogue->frame);
        }
    }
}

uint32_t sim_auditor_waiting(const struct sim_auditor *auditor, uint32_t number)
{
    const struct audit_connection *connection = sim_audit_connection(auditor, number);
    const struct audit_dialogue *dialogue = connection->dialogue;
    if (!dialogue->opened) {
        return 1;
    }
    if (connection->entries_first != 0) {
        return sim_audit_entry(auditor, connection->entries_first)->number;
    }
    const struct sim_frame *sent = &connection->frame;
    if (sim_frame_inside(sent)) { // its number is the next one
        return sent->number + 1;
    }
    return sent->use == SIM_FRAME_CLOSE && !dialogue->answered ? sent->number : 0;
}

bool sim_auditor_excused(const struct sim_auditor *auditor, uint32_t number)
{
    return sim_audit_connection(auditor, number)->dialogue->excused;
}
