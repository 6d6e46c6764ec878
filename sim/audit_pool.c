// The auditor: what the pool says of itself, held against what really happened.
#include <stdio.h>

#include "runtime/assert.h"
#include "sim/audit.h"

// ---- Proof ----

uint64_t sim_audit_assured(const struct sim_auditor *auditor)
{
    switch (auditor->promise) {
    case SIM_PROMISE_ANSWERED: return auditor->settled[AUDIT_CONFIRMED];
    case SIM_PROMISE_READ: return auditor->read + auditor->read_gaps;
    case SIM_PROMISE_ACKNOWLEDGED: return auditor->assured;
    case SIM_PROMISE_SENT: break;
    }
    return auditor->options.wired ? auditor->handed : auditor->accepted;
}

bool sim_audit_message_assured(const struct sim_auditor *auditor,
                               const struct audit_message *message)
{
    bool handed = message->connection[SIM_SIDE_SENT] != 0;
    switch (auditor->promise) {
    case SIM_PROMISE_ANSWERED: return message->settled != AUDIT_UNSETTLED;
    case SIM_PROMISE_READ: return message->read;
    case SIM_PROMISE_ACKNOWLEDGED: return message->read || message->acknowledged;
    case SIM_PROMISE_SENT: break;
    }
    return message->read || handed || !auditor->options.wired;
}

void sim_auditor_sample(struct sim_auditor *auditor, const struct weir_metrics *metrics)
{
    uint64_t assured = sim_audit_assured(auditor);
    if (!weir_metrics_balanced(metrics) || metrics->held_messages > metrics->accepted_messages) {
        sim_auditor_fail(auditor, "books-unbalanced", "in a snapshot");
    }
    if (metrics->confirmed_messages > assured) {
        sim_auditor_fail(
            auditor, "false-confirmation", "%llu messages are confirmed and there is proof of %llu",
            (unsigned long long)metrics->confirmed_messages, (unsigned long long)assured);
    }
}

static uint64_t dropped_unread(const struct weir_metrics *metrics)
{
    return metrics->dropped_messages[WEIR_DROPPED_OLDEST] +
           metrics->dropped_messages[WEIR_DROPPED_DEADLINE] +
           metrics->dropped_messages[WEIR_DROPPED_UNSENDABLE];
}

// Messages accepted up to this serial, of which there is no proof.
static uint64_t audit_missing(const struct sim_auditor *auditor, uint32_t accepted,
                              const struct audit_message **first)
{
    uint64_t missing = 0;
    size_t count = (size_t)auditor->options.producers_count * auditor->options.messages_max;
    for (size_t i = 0; i < count; i++) {
        const struct audit_message *message = &auditor->messages[i];
        if (message->state == AUDIT_ACCEPTED && message->serial <= accepted &&
            !sim_audit_message_assured(auditor, message)) {
            *first = missing == 0 ? message : *first;
            missing++;
        }
    }
    return missing;
}

static void audit_none_missing(struct sim_auditor *auditor, const char *name, uint32_t accepted,
                               uint64_t allowed)
{
    const struct audit_message *first = NULL;
    uint64_t missing = audit_missing(auditor, accepted, &first);
    if (missing > allowed) {
        uint32_t index = (uint32_t)(first - auditor->messages);
        sim_auditor_fail(auditor, name,
                         "%llu of %u messages are missing and %llu were reported dropped; the "
                         "first is %u of producer %u",
                         (unsigned long long)missing, accepted, (unsigned long long)allowed,
                         index % auditor->options.messages_max,
                         index / auditor->options.messages_max);
    }
}

// ---- Flush and close ----

// Not early, not late.
static void audit_time(struct sim_auditor *auditor, const struct sim_auditor_wait *wait,
                       const char *early, const char *late)
{
    uint64_t took_ns = wait->end_ns - wait->begin_ns;
    const char *name = NULL;
    if (wait->result == WEIR_ETIMEOUT && took_ns < wait->timeout_ns) {
        name = early;
    } else if (took_ns > wait->timeout_ns && wait->steady &&
               took_ns - wait->timeout_ns > auditor->options.slack_ns) {
        name = late;
    }
    if (name != NULL) {
        sim_auditor_fail(auditor, name, "it took %llu ns of %llu and answered %d",
                         (unsigned long long)took_ns, (unsigned long long)wait->timeout_ns,
                         wait->result);
    }
}

void sim_auditor_flush_begin(const struct sim_auditor *auditor, struct sim_auditor_wait *wait)
{
    wait->accepted = (uint32_t)auditor->accepted;
}

void sim_auditor_flush_end(struct sim_auditor *auditor, const struct sim_auditor_wait *wait,
                           const struct weir_metrics *metrics)
{
    audit_time(auditor, wait, "flush-early", "flush-late");
    if (wait->result == 0) {
        audit_none_missing(auditor, "flush-untruthful", wait->accepted, dropped_unread(metrics));
    } else if (wait->result != WEIR_ETIMEOUT &&
               (wait->result != WEIR_ECLOSED || !auditor->closing)) {
        sim_auditor_fail(auditor, "flush-untruthful", "it answered %d", wait->result);
    }
}

void sim_auditor_close_begin(struct sim_auditor *auditor, struct sim_auditor_wait *wait)
{
    auditor->closing = true;
    wait->accepted = (uint32_t)auditor->accepted;
}

void sim_auditor_close_end(struct sim_auditor *auditor, const struct sim_auditor_wait *wait,
                           const struct weir_metrics *metrics)
{
    uint64_t late = metrics->dropped_messages[WEIR_DROPPED_DEADLINE];
    uint64_t left = late + metrics->held_messages;
    auditor->closed = true;
    audit_time(auditor, wait, "close-early", "close-late");
    if (wait->result == WEIR_ETIMEOUT) {
        if (left == 0) {
            sim_auditor_fail(auditor, "close-untruthful", "it timed out and nothing was dropped");
        }
        return;
    }
    bool unproven = wait->result == WEIR_EUNPROVEN && auditor->promise == SIM_PROMISE_ACKNOWLEDGED;
    if (wait->result != 0 && !unproven) {
        sim_auditor_fail(auditor, "close-untruthful", "it answered %d", wait->result);
    } else if (left > 0) {
        sim_auditor_fail(auditor, "close-untruthful",
                         "it answered %d, and %llu messages are held and %llu were dropped",
                         wait->result, (unsigned long long)metrics->held_messages,
                         (unsigned long long)late);
    } else {
        audit_none_missing(auditor, "close-untruthful", wait->accepted, dropped_unread(metrics));
    }
}

bool sim_auditor_closing(const struct sim_auditor *auditor)
{
    return auditor->closing;
}

bool sim_auditor_closed(const struct sim_auditor *auditor)
{
    return auditor->closed;
}

// ---- Books ----

const char *sim_auditor_books(const struct sim_auditor *auditor, const struct weir_metrics *metrics)
{
    if (!weir_metrics_balanced(metrics)) {
        return "an equation of the books does not hold";
    }
    uint64_t bytes = metrics->confirmed_bytes + metrics->held_bytes;
    for (uint32_t i = 0; i < WEIR_DROPS_COUNT; i++) {
        bytes += metrics->dropped_bytes[i];
    }
    if (bytes != metrics->accepted_bytes) {
        return "the bytes of the books do not add up";
    }
    for (uint32_t i = 0; i < WEIR_REJECTIONS_COUNT; i++) {
        if (metrics->rejected_messages[i] != auditor->rejected[i]) {
            return "rejections are not what the host was answered";
        }
    }
    // What the host did not log are gap records.
    uint64_t gaps = metrics->accepted_messages - auditor->accepted;
    if (metrics->accepted_messages < auditor->accepted || gaps < auditor->read_gaps ||
        (gaps > 0 && !auditor->options.gap_records)) {
        return "accepted is not what the host was answered";
    }
    if (metrics->offered_messages != auditor->offered + gaps) {
        return "offered is not what the host offered";
    }
    if (sim_audit_relp(auditor) &&
        metrics->confirmed_messages != auditor->settled[AUDIT_CONFIRMED]) {
        return "what is confirmed is not what was answered with 200";
    }
    if (sim_audit_relp(auditor) &&
        metrics->dropped_messages[WEIR_DROPPED_REFUSED] != auditor->settled[AUDIT_REFUSED]) {
        return "what was dropped as refused is not what was answered otherwise";
    }
    uint64_t abandoned = metrics->dropped_messages[WEIR_DROPPED_ABANDONED];
    if (abandoned > auditor->abandoned ||
        (metrics->held_messages == 0 && abandoned != auditor->abandoned)) {
        return "what was dropped as abandoned is not what the host abandoned";
    }
    return NULL;
}

void sim_auditor_gaps(struct sim_auditor *auditor, const struct weir_metrics *metrics)
{
    uint64_t messages = 0, bytes = 0;
    const struct audit_gap *gap = auditor->gaps.items;
    for (uint32_t i = 0; i < auditor->gaps.count; i++) {
        bool told = gap[i].settled != AUDIT_REFUSED; // otherwise the next one tells it
        messages += told ? gap[i].messages : 0;
        bytes += told ? gap[i].bytes : 0;
    }
    // Under drop-oldest a record can go the way of what it tells of; that is nobody's loss, and
    // what it told the next one tells.
    uint64_t thrown = metrics->accepted_messages - auditor->accepted - auditor->gaps.count;
    uint64_t lost = auditor->rejected[WEIR_REJECTED_FULL] +
                    metrics->dropped_messages[WEIR_DROPPED_OLDEST] - thrown;
    uint64_t lost_bytes =
        auditor->rejected_full_bytes + metrics->dropped_bytes[WEIR_DROPPED_OLDEST];
    if (!auditor->options.gap_records) {
        return;
    }
    // A segment dropped with abandoned messages in it counts their bytes, but not them.
    uint64_t thrown_bytes_max = thrown * auditor->options.record_bytes_max;
    bool bytes_right =
        bytes <= lost_bytes && (auditor->abandoned > 0 || lost_bytes - bytes <= thrown_bytes_max);
    bool thrown_right = thrown == 0 || auditor->options.full == WEIR_FULL_DROP_OLDEST;
    if (messages != lost || !bytes_right || !thrown_right) {
        sim_auditor_fail(auditor, "gap-record-wrong",
                         "they tell of %llu messages, %llu bytes; lost were %llu, %llu",
                         (unsigned long long)messages, (unsigned long long)bytes,
                         (unsigned long long)lost, (unsigned long long)lost_bytes);
    }
}

void sim_auditor_memory(struct sim_auditor *auditor, uint64_t cap_bytes, uint64_t allocated_bytes,
                        uint64_t beside_bytes_max, const struct weir_metrics *metrics)
{
    if (metrics->memory_bytes > cap_bytes ||
        allocated_bytes > metrics->memory_bytes + beside_bytes_max) {
        sim_auditor_fail(auditor, "memory-over-cap",
                         "the pool says %llu of %llu bytes, and %llu were allocated",
                         (unsigned long long)metrics->memory_bytes, (unsigned long long)cap_bytes,
                         (unsigned long long)allocated_bytes);
    }
}

void sim_auditor_finish(struct sim_auditor *auditor, const struct weir_metrics *metrics)
{
    enum sim_promise promise = auditor->promise;
    // Where nothing broke nothing can have been lost in flight, whatever is promised.
    if (auditor->breaks == 0 && !auditor->options.datagrams && !sim_audit_relp(auditor)) {
        auditor->promise = SIM_PROMISE_READ;
    }
    // Held at the end is what a thread was still writing when the time of a close was over.
    audit_none_missing(auditor, "lost", (uint32_t)auditor->accepted,
                       dropped_unread(metrics) + metrics->held_messages);
    auditor->promise = promise;
    sim_auditor_sample(auditor, metrics);
    const char *wrong = sim_auditor_books(auditor, metrics);
    if (wrong != NULL) {
        sim_auditor_fail(auditor, "books-unbalanced", "%s", wrong);
    }
    uint64_t faults = metrics->faults[WEIR_FAULT_PROTOCOL];
    // At the pool's end one whose messages are all answered has served, whatever comes after them.
    if (faults > auditor->violations || faults + auditor->violations_late < auditor->violations) {
        sim_auditor_fail(auditor, "violations-miscounted",
                         "%llu faults, and %llu peers violated the protocol",
                         (unsigned long long)faults, (unsigned long long)auditor->violations);
    }
    uint64_t unsent = metrics->dropped_messages[WEIR_DROPPED_OLDEST] +
                      metrics->dropped_messages[WEIR_DROPPED_ABANDONED] +
                      metrics->dropped_messages[WEIR_DROPPED_UNSENDABLE];
    if (auditor->read + auditor->read_gaps + unsent > metrics->accepted_messages) {
        sim_auditor_fail(auditor, "delivered-though-dropped",
                         "of %llu messages %llu were dropped unsent, and yet %llu came",
                         (unsigned long long)metrics->accepted_messages, (unsigned long long)unsent,
                         (unsigned long long)(auditor->read + auditor->read_gaps));
    }
}

void sim_auditor_count(const struct sim_auditor *auditor, struct sim_auditor_counts *counts)
{
    *counts = (struct sim_auditor_counts){.offered = auditor->offered,
                                          .accepted = auditor->accepted,
                                          .abandoned = auditor->abandoned,
                                          .handed = auditor->handed,
                                          .read = auditor->read,
                                          .repeated = auditor->repeated,
                                          .gaps = auditor->read_gaps,
                                          .breaks = auditor->breaks,
                                          .cuts = auditor->cuts,
                                          .violations = auditor->violations,
                                          .disordered = auditor->disordered};
    for (uint32_t i = 0; i < WEIR_REJECTIONS_COUNT; i++) {
        counts->rejected += auditor->rejected[i];
    }
}
