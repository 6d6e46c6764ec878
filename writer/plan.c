// The plan: checks all options against each other and resolves them into plain values.
//
// A writer's share of the buffer is buffer_bytes_max / pool_size. It is cut into as many segments
// as fit; each has room for the flush limit plus one largest message, and an index.
#include "writer/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"

// Enough for every sentence of weir_endpoint_parse.
#define PLAN_REASON_BYTES 256

_Static_assert(WEIR_MESSAGE_BYTES_MAX <= WEIR_ROW_MESSAGE_BYTES_MAX, "a segment's word counts it");
_Static_assert(WEIR_FLUSH_LIMIT_BYTES_MAX <= WEIR_ROW_FLUSH_BYTES_MAX,
               "a segment's word counts it");
_Static_assert(sizeof(size_t) >= 8, "the largest region is computed in a size_t");
// 16 segments of the largest kind.
_Static_assert(WEIR_BUFFER_BYTES_MAX / WEIR_POOL_WRITERS_MAX / 16 >
                   WEIR_MESSAGE_BYTES_MAX + WEIR_FLUSH_LIMIT_BYTES_MAX,
               "what the options ask for at most is something that can be given");

struct plan_why {
    char *text;
    size_t bytes;
};

#define plan_refuse(why, ...)                                                                      \
    ((void)snprintf((why).text, (why).bytes, __VA_ARGS__), (int)WEIR_EOPTION)

// ---- Endpoints ----

// What the messages are framed for, and so the same for all endpoints of a list.
static const char *plan_kind(enum weir_transport transport)
{
    return !weir_transport_is_stream(transport) ? "datagram socket"
           : transport == WEIR_TRANSPORT_RELP   ? "RELP server"
                                                : "stream";
}

// An endpoint cannot stand in for itself. On one level it may stand twice, for twice the share.
static int plan_endpoint_check_levels(const struct weir_pool_plan *plan, uint32_t entry,
                                      struct plan_why why)
{
    const struct weir_endpoint *endpoint = &plan->endpoints[entry];
    for (uint32_t index = 0; index < entry; index++) {
        if (plan->levels[index] != plan->levels[entry] &&
            memcmp(&plan->endpoints[index], endpoint, sizeof(*endpoint)) == 0) {
            return plan_refuse(why,
                               "endpoint: entry %" PRIu32 " is the same as entry %" PRIu32
                               ", for which it should stand in; after a comma write another one",
                               entry + 1, index + 1);
        }
    }
    return 0;
}

static int plan_endpoint_add(struct weir_pool_plan *plan, const char *text, size_t text_bytes,
                             uint8_t level, struct plan_why why)
{
    char item[WEIR_ENDPOINT_TEXT_BYTES_MAX];
    char reason[PLAN_REASON_BYTES];
    uint32_t number = plan->endpoints_count + 1;
    if (plan->endpoints_count == WEIR_ENDPOINTS_MAX) {
        return plan_refuse(why, "endpoint: the list has more than %d entries", WEIR_ENDPOINTS_MAX);
    }
    if (text_bytes == 0) {
        return plan_refuse(why,
                           "endpoint: entry %" PRIu32 " of the list is empty; one comma or '|' "
                           "stands between two endpoints, and none at an end",
                           number);
    }
    if (text_bytes >= sizeof(item)) {
        return plan_refuse(why,
                           "endpoint: entry %" PRIu32 " has %zu characters; none is longer "
                           "than %zu",
                           number, text_bytes, sizeof(item) - 1);
    }
    memcpy(item, text, text_bytes);
    item[text_bytes] = '\0';
    struct weir_endpoint *endpoint = &plan->endpoints[plan->endpoints_count];
    if (weir_endpoint_parse(endpoint, item, reason, sizeof(reason)) != 0) {
        return plan_refuse(why, "endpoint: entry %" PRIu32 ": %s", number, reason);
    }
    const char *kind = plan_kind(endpoint->transport);
    const char *kind_before = plan_kind(plan->endpoints[0].transport);
    if (kind != kind_before) {
        return plan_refuse(why,
                           "endpoint: entry %" PRIu32 " is a %s and those before it are %ss; one "
                           "list holds one kind, because messages are framed for it beforehand",
                           number, kind, kind_before);
    }
    plan->stream = weir_transport_is_stream(endpoint->transport);
    plan->relp = endpoint->transport == WEIR_TRANSPORT_RELP;
    plan->levels[plan->endpoints_count] = level;
    plan->endpoints_count = number;
    return plan_endpoint_check_levels(plan, number - 1, why);
}

// Up to the next separator, or the end.
static size_t plan_item_bytes(const char *text)
{
    size_t bytes = 0;
    while (text[bytes] != '\0' && text[bytes] != '|' && text[bytes] != ',') {
        bytes++;
    }
    return bytes;
}

static int plan_endpoints(struct weir_pool_plan *plan, const struct weir_pool_options *options,
                          struct plan_why why)
{
    const char *text = options->endpoint;
    if (text == NULL || text[0] == '\0') {
        return plan_refuse(why, "endpoint is missing; write where to send, as in "
                                "tcp://collector:601 or unix:/run/log.sock");
    }
    for (uint8_t level = 0;; text++) {
        size_t bytes = plan_item_bytes(text);
        int error = plan_endpoint_add(plan, text, bytes, level, why);
        text += bytes;
        if (error != 0 || *text == '\0') {
            return error;
        }
        level = (uint8_t)(level + (*text == ',' ? 1 : 0));
    }
}

// ---- Framing ----

// Leaves the field unterminated if the text is too long for it, which the framer refuses by name.
static void plan_field_copy(char *field, size_t field_bytes, const char *text)
{
    size_t bytes = text != NULL ? strlen(text) : 0;
    memset(field, 0, field_bytes);
    if (bytes > 0) {
        memcpy(field, text, bytes < field_bytes ? bytes : field_bytes);
    }
}

static int plan_framer(struct weir_pool_plan *plan, const struct weir_pool_options *options,
                       struct plan_why why)
{
    struct weir_framing_options framing = {
        .framing = options->framing,
        .delimiter = options->delimiter,
        .header = options->header,
        .facility = options->facility,
        .severity = options->severity,
    };
    if (!plan->stream && options->framing == WEIR_FRAMING_OCTET_COUNTING) {
        return plan_refuse(why, "framing octet-counting is for streams, and the endpoint takes "
                                "datagrams, each one message; write framing raw");
    }
    if (!plan->relp && options->framing == WEIR_FRAMING_RELP) {
        return plan_refuse(why, "framing relp is for relp:// endpoints, and this is none; write "
                                "framing newline or octet-counting");
    }
    if (plan->relp && options->framing != WEIR_FRAMING_NEWLINE &&
        options->framing != WEIR_FRAMING_RELP) {
        return plan_refuse(why,
                           "framing %s is not for relp:// endpoints, which have their own; "
                           "write framing relp, or nothing",
                           options->framing == WEIR_FRAMING_RAW ? "raw" : "octet-counting");
    }
    if (!plan->stream) {
        // The default, newline, is what an operator did not choose: it means nothing here.
        framing.framing = WEIR_FRAMING_RAW;
    } else if (plan->relp) {
        framing.framing = WEIR_FRAMING_RELP;
    }
    if (options->header == WEIR_HEADER_RFC5424) {
        plan_field_copy(framing.hostname, sizeof(framing.hostname), options->hostname);
        plan_field_copy(framing.app, sizeof(framing.app), options->app);
        plan_field_copy(framing.procid, sizeof(framing.procid), options->procid);
        plan_field_copy(framing.msgid, sizeof(framing.msgid), options->msgid);
    }
    return weir_framer_init(&plan->framer, &framing, why.text, why.bytes);
}

static int plan_confirm(struct weir_pool_plan *plan, const struct weir_pool_options *options,
                        struct plan_why why)
{
    plan->confirm = options->confirm;
    if (plan->confirm == WEIR_CONFIRM_AUTO) {
        plan->confirm = plan->relp     ? WEIR_CONFIRM_ACK
                        : plan->stream ? WEIR_CONFIRM_PEER
                                       : WEIR_CONFIRM_SENT;
    }
    if (plan->confirm == WEIR_CONFIRM_ACK && !plan->relp) {
        return plan_refuse(why, "confirm ack needs a collector that answers, and the endpoint is "
                                "no RELP server; write relp://host:port, or confirm peer");
    }
    if (plan->confirm != WEIR_CONFIRM_ACK && plan->relp) {
        return plan_refuse(why,
                           "confirm %s is not for relp:// endpoints, where each message is "
                           "answered; write confirm ack, or nothing",
                           plan->confirm == WEIR_CONFIRM_PEER ? "peer" : "sent");
    }
    if (plan->confirm == WEIR_CONFIRM_PEER && !plan->stream) {
        return plan_refuse(why, "confirm peer needs a stream, and the endpoint takes datagrams, "
                                "of which nobody says whether they arrived; write confirm sent");
    }
    return 0;
}

// Of what the peer read something may be lost with it; of nothing else can it be said.
static int plan_replay(struct weir_pool_plan *plan, const struct weir_pool_options *options,
                       struct plan_why why)
{
    if (options->replay_bytes == 0 || plan->confirm == WEIR_CONFIRM_PEER) {
        return 0;
    }
    return plan_refuse(why,
                       "replay_bytes %" PRIu64 " needs confirm peer; with confirm %s; write "
                       "replay_bytes 0, or nothing",
                       options->replay_bytes,
                       plan->confirm == WEIR_CONFIRM_ACK
                           ? "ack only what the collector answered for is let go"
                           : "sent nobody asks what became of a message");
}

// ---- Messages ----

// The longest frame around a payload of so many bytes.
static size_t plan_frame_bytes(const struct weir_framer *framer, size_t payload_bytes)
{
    return weir_framer_prefix_bytes_max(framer, payload_bytes) + payload_bytes +
           weir_framer_suffix_bytes(framer);
}

static bool plan_has_udp(const struct weir_pool_plan *plan)
{
    for (uint32_t index = 0; index < plan->endpoints_count; index++) {
        if (plan->endpoints[index].transport == WEIR_TRANSPORT_UDP) {
            return true;
        }
    }
    return false;
}

static int plan_message(struct weir_pool_plan *plan, const struct weir_pool_options *options,
                        struct plan_why why)
{
    struct weir_pool_options defaults;
    weir_pool_options_init(&defaults);
    plan->message_bytes_max = options->message_bytes_max;
    if (plan_has_udp(plan) && plan->message_bytes_max > WEIR_UDP_MESSAGE_BYTES_MAX) {
        if (options->message_bytes_max != defaults.message_bytes_max) {
            return plan_refuse(why,
                               "message_bytes_max %" PRIu32 " is too large: a UDP datagram "
                               "carries at most %d bytes",
                               options->message_bytes_max, WEIR_UDP_MESSAGE_BYTES_MAX);
        }
        plan->message_bytes_max = WEIR_UDP_MESSAGE_BYTES_MAX;
    }
    size_t least = plan_frame_bytes(&plan->framer, 1);
    if (plan->message_bytes_max < least) {
        return plan_refuse(why,
                           "message_bytes_max %" PRIu32 " is too small: with this framing and "
                           "header a message of one byte takes up to %zu",
                           options->message_bytes_max, least);
    }
    least = plan_frame_bytes(&plan->framer, WEIR_GAP_RECORD_BYTES_MAX);
    if (options->gap_records && plan->message_bytes_max < least) {
        return plan_refuse(why,
                           "message_bytes_max %" PRIu32 " is too small: with gap_records on, a "
                           "record of what was lost must fit, and takes up to %zu",
                           options->message_bytes_max, least);
    }
    return 0;
}

// ---- Memory ----

static uint32_t plan_segment_messages(uint32_t flush_limit_bytes, uint32_t message_bytes_max)
{
    uint32_t payload_bytes = flush_limit_bytes + message_bytes_max;
    uint32_t messages = payload_bytes / WEIR_INDEX_PAYLOAD_BYTES;
    if (messages > flush_limit_bytes / WEIR_INDEX_FLUSH_BYTES) {
        messages = flush_limit_bytes / WEIR_INDEX_FLUSH_BYTES;
    }
    if (messages < WEIR_INDEX_MESSAGES_MIN) {
        messages = WEIR_INDEX_MESSAGES_MIN;
    }
    return messages < WEIR_ROW_MESSAGES_MAX ? messages : WEIR_ROW_MESSAGES_MAX;
}

static size_t plan_region_bytes(struct weir_row_options row, uint32_t segment_count)
{
    row.segment_count = segment_count;
    size_t region_bytes = weir_row_region_bytes(&row);
    weir_assert(region_bytes > 0);
    return region_bytes;
}

// The most segments whose region fits in the share, given that `fits` do.
static uint32_t plan_segment_count(const struct weir_row_options *row, uint64_t share_bytes,
                                   uint32_t fits)
{
    uint32_t above = WEIR_ROW_SEGMENTS_MAX + 1; // does not fit, or may not
    while (above - fits > 1) {
        uint32_t middle = fits + (above - fits) / 2;
        if (plan_region_bytes(*row, middle) <= share_bytes) {
            fits = middle;
        } else {
            above = middle;
        }
    }
    return fits;
}

static int plan_memory(struct weir_pool_plan *plan, const struct weir_pool_options *options,
                       struct plan_why why)
{
    uint64_t share_bytes = options->buffer_bytes_max / options->pool_size;
    plan->row.flush_limit_bytes = options->flush_limit_bytes;
    plan->row.message_bytes_max = plan->message_bytes_max;
    plan->row.segment_messages_max =
        plan_segment_messages(options->flush_limit_bytes, plan->message_bytes_max);
    size_t least = plan_region_bytes(plan->row, WEIR_SEGMENTS_MIN);
    if (share_bytes < least) {
        return plan_refuse(why,
                           "buffer_bytes_max %" PRIu64 " is too small: %" PRIu32 " writer%s with "
                           "flush_limit_bytes %" PRIu32 " and message_bytes_max %" PRIu32
                           " need%s at least %" PRIu64,
                           options->buffer_bytes_max, options->pool_size,
                           options->pool_size > 1 ? "s" : "", options->flush_limit_bytes,
                           plan->message_bytes_max, options->pool_size > 1 ? "" : "s",
                           (uint64_t)least * options->pool_size);
    }
    plan->row.segment_count = plan_segment_count(&plan->row, share_bytes, WEIR_SEGMENTS_MIN);
    plan->region_bytes = weir_row_region_bytes(&plan->row);
    weir_assert(plan->region_bytes >= least && plan->region_bytes <= share_bytes);
    return 0;
}

// What stays as it was given, or nearly.
static void plan_copy(struct weir_pool_plan *plan, const struct weir_pool_options *options)
{
    plan->full = options->full;
    plan->gap_records = options->gap_records;
    plan->writers_count = options->pool_size;
    plan->buffer_bytes_max = options->buffer_bytes_max;
    plan->flush_interval_ms = options->flush_interval_ms;
    plan->epoch_interval_ms = options->epoch_interval_ms;
    plan->retry_interval_ms = options->retry_interval_ms;
    plan->retry_interval_max_ms = options->retry_interval_max_ms;
    plan->connect_timeout_ms = options->connect_timeout_ms;
    plan->stall_timeout_ms = options->stall_timeout_ms;
    plan->failback_ms = options->failback_ms;
    plan->keepalive_ms = options->keepalive_ms;
    plan->tcp_user_timeout_ms = options->tcp_user_timeout_ms;
    plan->notsent_bytes_max = options->notsent_bytes_max;
    plan->window_messages = options->window_messages;
    plan->window_bytes = options->window_bytes;
    plan->answer_timeout_ms = options->answer_timeout_ms;
    plan->refused = options->refused;
    plan->log = options->log;
    plan->log_context = options->log_context;
    // So much is held until it is proven, while more is logged: a quarter leaves room for that.
    uint64_t quarter = (uint64_t)plan->row.segment_count * plan->row.flush_limit_bytes / 4;
    quarter = quarter == 0 ? 1 : quarter;
    plan->epoch_bytes = options->epoch_bytes_max < quarter ? options->epoch_bytes_max : quarter;
    plan->take_bytes = WEIR_TAKE_BYTES_MAX < quarter ? WEIR_TAKE_BYTES_MAX : quarter;
    plan->replay_bytes = options->replay_bytes < quarter ? options->replay_bytes : quarter;
}

int weir_pool_options_check(const struct weir_pool_options *options, struct weir_pool_plan *plan,
                            char *why, size_t why_bytes)
{
    weir_assert(options != NULL && plan != NULL);
    struct plan_why refusal = {why, why_bytes};
    struct weir_pool_plan made;
    memset(&made, 0, sizeof(made));
    int error = weir_pool_options_check_values(options, why, why_bytes);
    if (error == 0 && options->retry_interval_ms > options->retry_interval_max_ms) {
        error = plan_refuse(refusal,
                            "retry_interval_ms %" PRIu32 " is more than retry_interval_max_ms "
                            "%" PRIu32 ", up to which it doubles",
                            options->retry_interval_ms, options->retry_interval_max_ms);
    }
    if (error == 0) {
        error = plan_endpoints(&made, options, refusal);
    }
    if (error == 0) {
        error = plan_confirm(&made, options, refusal);
    }
    if (error == 0) {
        error = plan_framer(&made, options, refusal);
    }
    if (error == 0) {
        error = plan_replay(&made, options, refusal);
    }
    if (error == 0) {
        error = plan_message(&made, options, refusal);
    }
    if (error == 0) {
        error = plan_memory(&made, options, refusal);
    }
    if (error != 0) {
        return error;
    }
    plan_copy(&made, options);
    memcpy(plan, &made, sizeof(*plan));
    return 0;
}
