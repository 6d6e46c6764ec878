// The auditor: streams of messages, on either side of the network.
#include <string.h>

#include "runtime/assert.h"
#include "sim/audit.h"
#include "sim/message.h"

struct audit_connection *sim_audit_connection(const struct sim_auditor *auditor, uint32_t number)
{
    weir_assert(number < auditor->connections.count);
    struct audit_connection *connection =
        (struct audit_connection *)auditor->connections.items + number;
    weir_assert(connection->serial != 0);
    return connection;
}

uint32_t sim_auditor_begin(struct sim_auditor *auditor, enum sim_side side)
{
    struct audit_connection *connection = auditor->connections.items; // NULL: none so far
    struct audit_connection *end = NULL;
    if (connection != NULL) {
        end = connection + auditor->connections.count;
    }
    while (connection != end && connection->serial != 0) {
        connection++;
    }
    uint32_t record_bytes_max = auditor->options.record_bytes_max;
    size_t producers_bytes = auditor->options.producers_count * sizeof(uint32_t);
    if (connection == end) {
        connection = sim_audit_add(auditor, &auditor->connections, sizeof(*connection));
        unsigned char *bytes = sim_audit_alloc(auditor, producers_bytes + record_bytes_max);
        weir_assert(bytes != NULL);
        connection->next_sequence = (uint32_t *)bytes;
        connection->frame.bytes = bytes + producers_bytes;
    }
    uint32_t *next_sequence = connection->next_sequence;
    unsigned char *bytes = connection->frame.bytes;
    struct audit_dialogue *dialogue = connection->dialogue;
    memset(next_sequence, 0, producers_bytes);
    *connection = (struct audit_connection){
        .next_sequence = next_sequence, .dialogue = dialogue, .side = side};
    if (side == SIM_SIDE_SENT && sim_audit_relp(auditor)) {
        sim_audit_dialogue_begin(auditor, connection);
    }
    sim_frame_init(&connection->frame, auditor->options.framing, bytes, record_bytes_max);
    connection->serial = ++auditor->connection_serial;
    return (uint32_t)(connection - (struct audit_connection *)auditor->connections.items);
}

// Whether the connection of this serial number has not ended.
static bool connection_open(const struct sim_auditor *auditor, uint32_t serial)
{
    const struct audit_connection *connections = auditor->connections.items;
    for (uint32_t i = 0; i < auditor->connections.count; i++) {
        if (connections[i].serial == serial) {
            return true;
        }
    }
    return false;
}

// A record was handed over whole: whether it may be, at its second time, and its place.
static void record_handed(struct sim_auditor *auditor, struct audit_connection *connection,
                          uint32_t before, uint32_t *order, uint32_t record)
{
    if (before == 0) {
        *order = (uint32_t)++auditor->handed;
    } else if (before == connection->serial || connection_open(auditor, before)) {
        sim_auditor_fail(auditor, "duplicate-without-break",
                         "the %u-th record was sent again while its connection was open", *order);
    } else if (auditor->promise == SIM_PROMISE_SENT) {
        sim_auditor_fail(auditor, "duplicate-of-confirmed",
                         "the %u-th record was sent again, though sending confirms", *order);
    } else if (auditor->options.writers_count == 1 && *order <= connection->confirmed) {
        sim_auditor_fail(auditor, "duplicate-of-confirmed",
                         "the %u-th record was sent again when %llu were confirmed", *order,
                         (unsigned long long)connection->confirmed);
    }
    if (auditor->promise == SIM_PROMISE_SENT) {
        return;
    }
    struct audit_entry *entry = sim_audit_add(auditor, &auditor->entries, sizeof(*entry));
    *entry = (struct audit_entry){.end = connection->bytes, .record = record};
    if (connection->entries_last != 0) {
        sim_audit_entry(auditor, connection->entries_last)->next = auditor->entries.count;
    } else {
        connection->entries_first = auditor->entries.count;
    }
    connection->entries_last = auditor->entries.count;
    if (sim_audit_relp(auditor)) {
        sim_audit_dialogue_handed(auditor, connection, entry, *order);
    }
}

static void message_read(struct sim_auditor *auditor, struct audit_message *message)
{
    auditor->repeated += message->read ? 1 : 0;
    auditor->read += message->read ? 0 : 1;
    auditor->assured += message->read || message->acknowledged ? 0 : 1;
    message->read = true;
}

// Nothing may be passed over: on a connection, and by what was never handed over at all.
static void message_follows(struct sim_auditor *auditor, struct audit_connection *connection,
                            const struct sim_message *head)
{
    uint32_t *next = &connection->next_sequence[head->producer];
    enum sim_side side = connection->side;
    bool gaps_allowed = auditor->options.full == WEIR_FULL_DROP_OLDEST ||
                        (side == SIM_SIDE_READ && auditor->options.datagrams);
    bool from_start = side == SIM_SIDE_SENT;
    for (uint32_t i = *next; !gaps_allowed && (*next > 0 || from_start) && i < head->sequence;
         i++) {
        const struct audit_message *passed = sim_audit_message(auditor, head->producer, i);
        bool seen = *next == 0 && passed->connection[side] != 0;
        if (passed->state == AUDIT_ACCEPTED && !seen) {
            sim_auditor_fail(auditor, "skipped-message",
                             "message %u of producer %u came, and %u before it did not",
                             head->sequence, head->producer, i);
        }
    }
    *next = head->sequence + 1;
}

static void record_message(struct sim_auditor *auditor, struct audit_connection *connection,
                           const struct sim_message *head)
{
    enum sim_side side = connection->side;
    struct audit_message *message = sim_audit_message(auditor, head->producer, head->sequence);
    if (message == NULL || message->state == AUDIT_UNKNOWN) {
        sim_auditor_fail(auditor, "phantom-message", "message %u of producer %u was never logged",
                         head->sequence, head->producer);
        return;
    }
    if (message->bytes != head->bytes) {
        sim_auditor_fail(auditor, "corrupt-message", "message %u of producer %u: %u bytes for %u",
                         head->sequence, head->producer, head->bytes, message->bytes);
        return;
    }
    if (message->state == AUDIT_REJECTED || message->state == AUDIT_ABANDONED ||
        message->state == AUDIT_HELD) {
        sim_auditor_fail(auditor,
                         message->state == AUDIT_REJECTED ? "delivered-though-rejected"
                                                          : "delivered-though-abandoned",
                         "message %u of producer %u", head->sequence, head->producer);
        return;
    }
    uint32_t before = message->connection[side];
    if (before == connection->serial) {
        sim_auditor_fail(auditor, "duplicate-without-break",
                         "message %u of producer %u came twice on one connection", head->sequence,
                         head->producer);
        return;
    }
    bool overtaken = auditor->options.datagrams && side == SIM_SIDE_READ;
    if (head->sequence < connection->next_sequence[head->producer] && !overtaken) {
        sim_auditor_fail(auditor, "order-broken", "message %u of producer %u came after %u",
                         head->sequence, head->producer,
                         connection->next_sequence[head->producer] - 1);
        return;
    }
    message_follows(auditor, connection, head);
    message->connection[side] = connection->serial;
    if (side == SIM_SIDE_SENT) {
        record_handed(auditor, connection, before, &message->order,
                      (uint32_t)(message - auditor->messages));
        return;
    }
    if (auditor->options.wired && message->connection[SIM_SIDE_SENT] == 0) {
        sim_auditor_fail(auditor, "phantom-message", "message %u of producer %u was never sent",
                         head->sequence, head->producer);
    } else if (before != 0 && !auditor->options.wired && auditor->breaks == 0) {
        sim_auditor_fail(auditor, "duplicate-without-break", "message %u of producer %u",
                         head->sequence, head->producer);
    }
    message_read(auditor, message);
}

// FNV-1a (Fowler, Noll, Vo).
static uint64_t record_hash(const unsigned char *bytes, size_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

// The record of this text that the connection has not had, nor another writer's has: two writers
// may tell of a loss in the same words. What a writer sends again it sends over a connection that
// began later, and what was answered for it does not. Of several records one that nothing is known
// to have arrived of.
static struct audit_gap *gap_find(struct sim_auditor *auditor,
                                  const struct audit_connection *connection, uint64_t hash)
{
    struct audit_gap *found = NULL, *gap = auditor->gaps.items;
    for (uint32_t i = 0; i < auditor->gaps.count; i++) {
        uint32_t had = gap[i].connection[connection->side];
        bool elsewhere = connection->side == SIM_SIDE_SENT && auditor->options.writers_count > 1 &&
                         (connection_open(auditor, had) || had > connection->serial);
        bool settled = connection->side == SIM_SIDE_SENT && gap[i].settled != AUDIT_UNSETTLED;
        if (gap[i].hash != hash || had == connection->serial || elsewhere || settled) {
            continue;
        }
        if (found == NULL || (found->read && !gap[i].read)) {
            found = &gap[i];
        }
    }
    return found;
}

static void record_gap(struct sim_auditor *auditor, struct audit_connection *connection,
                       uint64_t messages, uint64_t bytes, uint64_t hash)
{
    enum sim_side side = connection->side;
    struct audit_gap *found = gap_find(auditor, connection, hash);
    if (found == NULL && side == SIM_SIDE_READ && auditor->options.wired) {
        sim_auditor_fail(auditor, "phantom-message", "a gap record that was never sent");
        return;
    }
    if (found == NULL) {
        found = sim_audit_add(auditor, &auditor->gaps, sizeof(*found));
        *found = (struct audit_gap){.hash = hash, .messages = messages, .bytes = bytes};
    }
    uint32_t before = found->connection[side];
    found->connection[side] = connection->serial;
    if (side == SIM_SIDE_SENT) {
        record_handed(auditor, connection, before, &found->order,
                      AUDIT_GAP + (uint32_t)(found - (struct audit_gap *)auditor->gaps.items));
    } else if (!found->read) {
        found->read = true;
        auditor->read_gaps++;
        auditor->assured += found->acknowledged ? 0 : 1;
    }
}

static void record_whole(struct sim_auditor *auditor, struct audit_connection *connection)
{
    if (sim_audit_relp(auditor) && connection->frame.use != SIM_FRAME_SYSLOG) {
        return;
    }
    const unsigned char *bytes = connection->frame.bytes;
    size_t count = connection->frame.count;
    bool first = connection->records++ == 0 && !auditor->options.datagrams;
    if (auditor->options.header == WEIR_HEADER_RFC5424) {
        size_t header = sim_frame_header(bytes, count);
        if (header == 0) {
            sim_auditor_fail(auditor, first ? "starts-inside-message" : "corrupt-message",
                             "a record without its header: %.*s", (int)(count < 64 ? count : 64),
                             (const char *)bytes);
            return;
        }
        bytes += header;
        count -= header;
    }
    uint64_t messages, dropped;
    if (auditor->options.gap_records && sim_frame_gap(bytes, count, &messages, &dropped)) {
        record_gap(auditor, connection, messages, dropped, record_hash(bytes, count));
        return;
    }
    struct sim_message head;
    bool escaped = auditor->options.framing == WEIR_FRAMING_NEWLINE && !auditor->options.datagrams;
    enum sim_message_check check = sim_message_check(bytes, count, escaped, &head);
    if (check == SIM_MESSAGE_GOOD) {
        record_message(auditor, connection, &head);
        return;
    }
    sim_auditor_fail(auditor,
                     check == SIM_MESSAGE_TORN ? "torn-message"
                     : first                   ? "starts-inside-message"
                                               : "corrupt-message",
                     "record %llu of a connection: %.*s", (unsigned long long)connection->records,
                     (int)(count < 64 ? count : 64), (const char *)bytes);
}

void sim_auditor_bytes(struct sim_auditor *auditor, uint32_t number, const void *bytes,
                       size_t bytes_count)
{
    struct audit_connection *connection = sim_audit_connection(auditor, number);
    struct sim_frame *frame = &connection->frame;
    const unsigned char *at = bytes, *end = at + bytes_count;
    if (auditor->options.datagrams) {
        weir_assert(bytes_count <= frame->bytes_max);
        memcpy(frame->bytes, bytes, bytes_count);
        frame->count = (uint32_t)bytes_count;
        record_whole(auditor, connection);
        sim_frame_next(frame);
        return;
    }
    while (at < end) {
        size_t used;
        enum sim_frame_result result = sim_frame_feed(frame, at, (size_t)(end - at), &used);
        connection->bytes += used;
        at += used;
        if (result == SIM_FRAME_BAD) {
            sim_auditor_fail(auditor,
                             sim_audit_relp(auditor)    ? "relp-wrong"
                             : connection->records == 0 ? "starts-inside-message"
                                                        : "torn-message",
                             "after record %llu something that is no frame",
                             (unsigned long long)connection->records);
            return;
        }
        if (result == SIM_FRAME_WHOLE) {
            record_whole(auditor, connection);
            if (connection->dialogue != NULL && connection->side == SIM_SIDE_SENT) {
                sim_audit_dialogue_frame(auditor, connection);
            }
            sim_frame_next(frame);
        }
    }
    if (connection->dialogue != NULL && connection->side == SIM_SIDE_SENT) {
        sim_audit_dialogue_send(auditor, connection);
    }
    if (connection->side == SIM_SIDE_SENT && sim_frame_inside(frame)) {
        auditor->cuts++;
    }
}

void sim_auditor_acknowledged(struct sim_auditor *auditor, uint32_t number, uint64_t bytes)
{
    struct audit_connection *connection = sim_audit_connection(auditor, number);
    while (connection->entries_first != 0) {
        struct audit_entry *entry = sim_audit_entry(auditor, connection->entries_first);
        if (entry->end > bytes) {
            return;
        }
        bool *acknowledged, read;
        if (entry->record >= AUDIT_GAP) {
            struct audit_gap *gap =
                (struct audit_gap *)auditor->gaps.items + entry->record - AUDIT_GAP;
            acknowledged = &gap->acknowledged;
            read = gap->read;
        } else {
            acknowledged = &auditor->messages[entry->record].acknowledged;
            read = auditor->messages[entry->record].read;
        }
        auditor->assured += read || *acknowledged ? 0 : 1;
        *acknowledged = true;
        connection->entries_first = entry->next;
        connection->entries_last = entry->next == 0 ? 0 : connection->entries_last;
    }
}

bool sim_auditor_inside(const struct sim_auditor *auditor, uint32_t number)
{
    return sim_frame_inside(&sim_audit_connection(auditor, number)->frame);
}

void sim_auditor_shut(struct sim_auditor *auditor, uint32_t number)
{
    if (sim_auditor_inside(auditor, number)) {
        sim_auditor_fail(auditor, "torn-message", "the pool ended its side inside a message");
    }
}

void sim_auditor_end(struct sim_auditor *auditor, uint32_t number, enum sim_end how)
{
    struct audit_connection *connection = sim_audit_connection(auditor, number);
    enum sim_side side = connection->side;
    bool inside = sim_frame_inside(&connection->frame);
    connection->serial = 0;
    auditor->torn[side] += inside && (how == SIM_END_ORDERLY || side == SIM_SIDE_SENT) ? 1 : 0;
    if (!inside || how == SIM_END_BROKEN) {
        return;
    }
    // A reader sees an orderly end also where the pool gave the connection up in mid-message.
    bool excused = side == SIM_SIDE_READ && auditor->options.wired &&
                   auditor->torn[SIM_SIDE_READ] <= auditor->torn[SIM_SIDE_SENT];
    if (!excused) {
        sim_auditor_fail(auditor, "torn-message",
                         "a connection ended in order, inside its message %llu",
                         (unsigned long long)connection->records + 1);
    }
}

void sim_auditor_break(struct sim_auditor *auditor)
{
    auditor->breaks++;
}

void sim_auditor_confirmed(struct sim_auditor *auditor, uint32_t number, uint64_t messages)
{
    sim_audit_connection(auditor, number)->confirmed = messages;
}
