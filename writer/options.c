// Options: the table of all of them, and setting one from text.
//
// Defaults are texts in the table, set through the same parser an operator's values pass: there is
// one way to write a value, and a default that its own bounds refuse stops the first test.
#include "writer/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"

// How much of the operator's text a sentence repeats.
#define OPTION_QUOTE_BYTES_MAX 64
// A name this much like an option's is taken for a slip.
#define OPTION_NEAR_BYTES_MIN 3

enum option_kind {
    OPTION_COUNT, // a number; milliseconds too
    OPTION_SIZE,  // a number, maybe with k, m, g
    OPTION_ENUM,  // a name
    OPTION_LEVEL, // a name or a number
    OPTION_STRING
};

struct option_name {
    const char *text; // NULL: the end
    uint64_t value;
};

struct option_entry {
    struct weir_option option;
    enum option_kind kind;
    size_t offset;
    size_t field_bytes;
    uint64_t min;
    uint64_t max;
    const struct option_name *names;
};

static const struct option_name option_confirms[] = {{"auto", WEIR_CONFIRM_AUTO},
                                                     {"sent", WEIR_CONFIRM_SENT},
                                                     {"peer", WEIR_CONFIRM_PEER},
                                                     {"ack", WEIR_CONFIRM_ACK},
                                                     {NULL, 0}};
static const struct option_name option_refusals[] = {
    {"retry", WEIR_REFUSED_RETRY}, {"drop", WEIR_REFUSED_DROP}, {NULL, 0}};
static const struct option_name option_fulls[] = {{"drop-newest", WEIR_FULL_DROP_NEWEST},
                                                  {"drop-oldest", WEIR_FULL_DROP_OLDEST},
                                                  {"block", WEIR_FULL_BLOCK},
                                                  {NULL, 0}};
static const struct option_name option_framings[] = {
    {"newline", WEIR_FRAMING_NEWLINE},
    {"octet-counting", WEIR_FRAMING_OCTET_COUNTING},
    {"raw", WEIR_FRAMING_RAW},
    {"relp", WEIR_FRAMING_RELP},
    {NULL, 0}};
static const struct option_name option_delimiters[] = {{"escape", WEIR_DELIMITER_ESCAPE},
                                                       {"refuse", WEIR_DELIMITER_REFUSE},
                                                       {"pass", WEIR_DELIMITER_PASS},
                                                       {NULL, 0}};
static const struct option_name option_headers[] = {
    {"none", WEIR_HEADER_NONE}, {"rfc5424", WEIR_HEADER_RFC5424}, {NULL, 0}};
static const struct option_name option_switches[] = {{"on", 1}, {"off", 0},  {"yes", 1},
                                                     {"no", 0}, {"true", 1}, {"false", 0},
                                                     {"1", 1},  {"0", 0},    {NULL, 0}};
// RFC 5424 section 6.2.1 numbers them; the names are those of syslog.h. 12 to 15 have none there.
static const struct option_name option_facilities[] = {
    {"kern", 0},      {"user", 1},    {"mail", 2},    {"daemon", 3},  {"auth", 4},
    {"syslog", 5},    {"lpr", 6},     {"news", 7},    {"uucp", 8},    {"cron", 9},
    {"authpriv", 10}, {"ftp", 11},    {"local0", 16}, {"local1", 17}, {"local2", 18},
    {"local3", 19},   {"local4", 20}, {"local5", 21}, {"local6", 22}, {"local7", 23},
    {NULL, 0}};
static const struct option_name option_severities[] = {
    {"emerg", 0}, {"alert", 1},  {"crit", 2}, {"err", 3},   {"error", 3}, {"warning", 4},
    {"warn", 4},  {"notice", 5}, {"info", 6}, {"debug", 7}, {NULL, 0}};

#define OPTION_FIELD(member)                                                                       \
    .offset = offsetof(struct weir_pool_options, member),                                          \
    .field_bytes = sizeof(((struct weir_pool_options *)NULL)->member)
#define OPTION_NUMBER(member, kind_, syntax_, initial_, min_, max_, help_)                         \
    {                                                                                              \
        .option = {#member, syntax_, initial_, help_}, .kind = (kind_), OPTION_FIELD(member),      \
        .min = (min_), .max = (max_), .names = NULL                                                \
    }
#define OPTION_NAMED(member, kind_, syntax_, initial_, max_, names_, help_)                        \
    {                                                                                              \
        .option = {#member, syntax_, initial_, help_}, .kind = (kind_), OPTION_FIELD(member),      \
        .min = 0, .max = (max_), .names = (names_)                                                 \
    }
#define OPTION_TEXT(member, syntax_, help_)                                                        \
    {                                                                                              \
        .option = {#member, syntax_, "", help_}, .kind = OPTION_STRING, OPTION_FIELD(member),      \
        .min = 0, .max = 0, .names = NULL                                                          \
    }

static const struct option_entry option_table[] = {
    OPTION_TEXT(endpoint, "ENDPOINT[|ENDPOINT...][,ENDPOINT...]",
                "where to: tcp://host:port relp://host:port udp://host:port unix:/path "
                "unix-dgram:/path unix:@name; writers are spread over those with '|' between them; "
                "those after a comma are for when the ones before it are down; required"),
    OPTION_NUMBER(pool_size, OPTION_COUNT, "N", WEIR_POOL_SIZE_DEFAULT, 1, WEIR_POOL_WRITERS_MAX,
                  "writers, each with a connection and a part of the buffer"),
    OPTION_NUMBER(buffer_bytes_max, OPTION_SIZE, "SIZE", WEIR_BUFFER_BYTES_MAX_DEFAULT,
                  WEIR_BUFFER_BYTES_MIN, WEIR_BUFFER_BYTES_MAX,
                  "memory for messages, all writers together"),
    OPTION_NUMBER(message_bytes_max, OPTION_SIZE, "SIZE", WEIR_MESSAGE_BYTES_MAX_DEFAULT, 1,
                  WEIR_MESSAGE_BYTES_MAX,
                  "largest message, framing included; over udp at most 65507, which the default "
                  "means there"),
    OPTION_NUMBER(flush_limit_bytes, OPTION_SIZE, "SIZE", WEIR_FLUSH_LIMIT_BYTES_DEFAULT, 1,
                  WEIR_FLUSH_LIMIT_BYTES_MAX, "so much is sent at once when traffic is high"),
    OPTION_NUMBER(flush_interval_ms, OPTION_COUNT, "MS", WEIR_FLUSH_INTERVAL_MS_DEFAULT, 1,
                  WEIR_INTERVAL_MS_MAX, "and less than that is sent after this long"),
    OPTION_NUMBER(retry_interval_ms, OPTION_COUNT, "MS", WEIR_RETRY_INTERVAL_MS_DEFAULT, 1,
                  WEIR_INTERVAL_MS_MAX, "wait before connecting again; it doubles each time"),
    OPTION_NUMBER(retry_interval_max_ms, OPTION_COUNT, "MS", WEIR_RETRY_INTERVAL_MAX_MS_DEFAULT, 1,
                  WEIR_INTERVAL_MS_MAX, "the longest such wait"),
    OPTION_NUMBER(connect_timeout_ms, OPTION_COUNT, "MS", WEIR_CONNECT_TIMEOUT_MS_DEFAULT, 1,
                  WEIR_INTERVAL_MS_MAX, "how long one attempt to connect may take"),
    OPTION_NUMBER(stall_timeout_ms, OPTION_COUNT, "MS", WEIR_STALL_TIMEOUT_MS_DEFAULT, 1,
                  WEIR_INTERVAL_MS_MAX, "a connection that takes nothing for so long is given up"),
    OPTION_NUMBER(failback_ms, OPTION_COUNT, "MS", WEIR_FAILBACK_MS_DEFAULT, 0,
                  WEIR_INTERVAL_MS_MAX,
                  "a preferred endpoint is used again once it was up for so long; 0 is never"),
    OPTION_NUMBER(keepalive_ms, OPTION_COUNT, "MS", WEIR_KEEPALIVE_MS_DEFAULT, 0,
                  WEIR_INTERVAL_MS_MAX,
                  "tcp: an idle peer is asked for a sign of life after so long, rounded up to "
                  "seconds; 0 is never"),
    OPTION_NUMBER(tcp_user_timeout_ms, OPTION_COUNT, "MS", WEIR_TCP_USER_TIMEOUT_MS_DEFAULT, 0,
                  WEIR_INTERVAL_MS_MAX,
                  "tcp: unacknowledged for so long, a connection is given up; 0 is the system's "
                  "rule"),
    OPTION_NUMBER(notsent_bytes_max, OPTION_SIZE, "SIZE", WEIR_NOTSENT_BYTES_MAX_DEFAULT, 0,
                  WEIR_ROW_FLUSH_BYTES_MAX,
                  "tcp: unsent in the kernel at most about so much; 0 is the system's rule"),
    OPTION_NUMBER(window_messages, OPTION_COUNT, "N", WEIR_WINDOW_MESSAGES_DEFAULT, 1,
                  WEIR_WINDOW_MESSAGES_MAX, "relp: messages sent without an answer, at most"),
    OPTION_NUMBER(window_bytes, OPTION_SIZE, "SIZE", WEIR_WINDOW_BYTES_DEFAULT, 1,
                  WEIR_ROW_FLUSH_BYTES_MAX, "relp: bytes sent without an answer, at most"),
    OPTION_NUMBER(answer_timeout_ms, OPTION_COUNT, "MS", WEIR_ANSWER_TIMEOUT_MS_DEFAULT, 1,
                  WEIR_INTERVAL_MS_MAX,
                  "relp: a connection on which no answer comes for so long is given up"),
    OPTION_NUMBER(replay_bytes, OPTION_SIZE, "SIZE", WEIR_REPLAY_BYTES_DEFAULT, 0,
                  WEIR_BUFFER_BYTES_MAX,
                  "after a reset so much of what was confirmed is sent once more"),
    OPTION_NUMBER(epoch_bytes_max, OPTION_SIZE, "SIZE", WEIR_EPOCH_BYTES_MAX_DEFAULT, 0,
                  WEIR_BUFFER_BYTES_MAX,
                  "tcp, confirm=peer: after so much the connection is ended and replaced, so that "
                  "the other end proves that it read it; 0 is never"),
    OPTION_NUMBER(epoch_interval_ms, OPTION_COUNT, "MS", WEIR_EPOCH_INTERVAL_MS_DEFAULT, 1,
                  WEIR_INTERVAL_MS_MAX, "and for less than that after this long"),
    OPTION_NAMED(confirm, OPTION_ENUM, "auto|sent|peer|ack", "auto", WEIR_CONFIRM_ACK,
                 option_confirms,
                 "what counts as delivered: the kernel took it (sent), the other end has it "
                 "(peer), or answered for it (ack); auto is ack over relp, peer on other streams, "
                 "sent on datagrams"),
    OPTION_NAMED(refused, OPTION_ENUM, "retry|drop", "retry", WEIR_REFUSED_DROP, option_refusals,
                 "relp: what happens to a message the collector refuses"),
    OPTION_NAMED(full, OPTION_ENUM, "drop-newest|drop-oldest|block", "drop-newest", WEIR_FULL_BLOCK,
                 option_fulls, "what happens to messages when the buffer is full"),
    OPTION_NAMED(framing, OPTION_ENUM, "newline|octet-counting|raw|relp", "newline",
                 WEIR_FRAMING_RELP, option_framings,
                 "how messages are told apart in a stream; a datagram is one message and has none, "
                 "relp endpoints have their own"),
    OPTION_NAMED(delimiter, OPTION_ENUM, "escape|refuse|pass", "escape", WEIR_DELIMITER_PASS,
                 option_delimiters, "what happens to newlines in messages under newline framing"),
    OPTION_NAMED(header, OPTION_ENUM, "none|rfc5424", "none", WEIR_HEADER_RFC5424, option_headers,
                 "what stands before each message"),
    OPTION_NAMED(gap_records, OPTION_ENUM, "on|off", "off", 1, option_switches,
                 "after a loss, once connected, send a message that says how much was lost"),
    OPTION_NAMED(facility, OPTION_LEVEL, "NAME|0..23", "user", WEIR_FACILITY_MAX, option_facilities,
                 "header field: kern user mail daemon auth syslog lpr news uucp cron authpriv ftp "
                 "local0 to local7"),
    OPTION_NAMED(severity, OPTION_LEVEL, "NAME|0..7", "info", WEIR_SEVERITY_MAX, option_severities,
                 "header field, for messages without their own: emerg alert crit err warning "
                 "notice info debug"),
    OPTION_TEXT(hostname, "TEXT", "header field; empty is '-'"),
    OPTION_TEXT(app, "TEXT", "header field; empty is '-'"),
    OPTION_TEXT(procid, "TEXT", "header field; empty is '-'"),
    OPTION_TEXT(msgid, "TEXT", "header field; empty is '-'"),
};
#define OPTION_TABLE_COUNT (sizeof(option_table) / sizeof(option_table[0]))

struct option_why {
    char *text;
    size_t bytes;
};

#define option_refuse(why, ...)                                                                    \
    ((void)snprintf((why).text, (why).bytes, __VA_ARGS__), (int)WEIR_EOPTION)

static void option_why_clear(struct option_why why)
{
    if (why.bytes > 0) {
        why.text[0] = '\0';
    }
}

// The beginning of the operator's text, without what a terminal would obey.
static const char *option_quote(char *quote, const char *text)
{
    size_t bytes = 0;
    for (; bytes < OPTION_QUOTE_BYTES_MAX && text[bytes] != '\0'; bytes++) {
        quote[bytes] = text[bytes] >= ' ' && text[bytes] <= '~' ? text[bytes] : '?';
    }
    quote[bytes] = '\0';
    return quote;
}

static int option_refuse_range(const struct option_entry *entry, const char *value,
                               struct option_why why)
{
    return option_refuse(why, "%s %s is out of range; write %" PRIu64 " to %" PRIu64,
                         entry->option.name, value, entry->min, entry->max);
}

static int option_refuse_name(const struct option_entry *entry, const char *value,
                              struct option_why why)
{
    return option_refuse(why, "%s %s is unknown; write %s", entry->option.name, value,
                         entry->option.syntax);
}

const struct weir_option *weir_option_at(size_t index)
{
    return index < OPTION_TABLE_COUNT ? &option_table[index].option : NULL;
}

// Through memcpy, because the members have many types: bool, the enums, three sizes of integer.
static void option_store(const struct option_entry *entry, struct weir_pool_options *options,
                         uint64_t value)
{
    unsigned char *field = (unsigned char *)options + entry->offset;
    uint8_t byte = (uint8_t)value;
    uint32_t word = (uint32_t)value;
    weir_assert(value <= entry->max);
    switch (entry->field_bytes) {
    case sizeof(byte): memcpy(field, &byte, sizeof(byte)); break;
    case sizeof(word): memcpy(field, &word, sizeof(word)); break;
    default: weir_assert(entry->field_bytes == sizeof(value)); memcpy(field, &value, sizeof(value));
    }
}

static uint64_t option_load(const struct option_entry *entry,
                            const struct weir_pool_options *options)
{
    const unsigned char *field = (const unsigned char *)options + entry->offset;
    uint8_t byte;
    uint32_t word;
    uint64_t value;
    switch (entry->field_bytes) {
    case sizeof(byte): memcpy(&byte, field, sizeof(byte)); return byte;
    case sizeof(word): memcpy(&word, field, sizeof(word)); return word;
    default: break;
    }
    weir_assert(entry->field_bytes == sizeof(value));
    memcpy(&value, field, sizeof(value));
    return value;
}

static const struct option_name *option_name_find(const struct option_name *names, const char *text)
{
    while (names->text != NULL && strcmp(names->text, text) != 0) {
        names++;
    }
    return names->text != NULL ? names : NULL;
}

static uint64_t option_scale(const char *suffix)
{
    static const char letters[] = "kKmMgG";
    const char *letter = memchr(letters, suffix[0], sizeof(letters) - 1);
    if (letter == NULL || suffix[1] != '\0') {
        return 0;
    }
    return UINT64_C(1024) << (letter - letters) / 2 * 10;
}

// Whether it is a number at all; one that is too large becomes UINT64_MAX, which no option takes.
static bool option_parse_number(const char *text, bool scaled, uint64_t *value)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
    }
    uint64_t scale = *at == '\0' ? 1 : scaled ? option_scale(at) : 0;
    if (at == text || scale == 0) {
        return false;
    }
    *value = number > UINT64_MAX / scale ? UINT64_MAX : number * scale;
    return true;
}

static int option_set_number(const struct option_entry *entry, struct weir_pool_options *options,
                             const char *text, struct option_why why)
{
    char quote[OPTION_QUOTE_BYTES_MAX + 1];
    uint64_t value;
    bool scaled = entry->kind == OPTION_SIZE;
    if (!option_parse_number(text, scaled, &value)) {
        return option_refuse(why, "%s '%s' is no %s; write %" PRIu64 " to %" PRIu64 "%s",
                             entry->option.name, option_quote(quote, text),
                             scaled ? "size" : "number", entry->min, entry->max,
                             scaled ? ", or with k, m or g as in 64k" : "");
    }
    if (value < entry->min || value > entry->max) {
        return option_refuse_range(entry, option_quote(quote, text), why);
    }
    option_store(entry, options, value);
    return 0;
}

static int option_set_name(const struct option_entry *entry, struct weir_pool_options *options,
                           const char *text, struct option_why why)
{
    char quote[OPTION_QUOTE_BYTES_MAX + 1];
    const struct option_name *name = option_name_find(entry->names, text);
    uint64_t value = 0;
    if (name != NULL) {
        option_store(entry, options, name->value);
        return 0;
    }
    if (entry->kind != OPTION_LEVEL || !option_parse_number(text, false, &value)) {
        char quoted[OPTION_QUOTE_BYTES_MAX + 3];
        (void)snprintf(quoted, sizeof(quoted), "'%s'", option_quote(quote, text));
        return option_refuse_name(entry, quoted, why);
    }
    if (value > entry->max) {
        return option_refuse_range(entry, option_quote(quote, text), why);
    }
    option_store(entry, options, value);
    return 0;
}

// How many characters two names share from the start; '-' counts as '_'.
static size_t option_likeness(const char *name, const char *text)
{
    size_t bytes = 0;
    while (name[bytes] != '\0' &&
           (name[bytes] == text[bytes] || (name[bytes] == '_' && text[bytes] == '-'))) {
        bytes++;
    }
    return bytes;
}

static int option_refuse_unknown(const char *text, struct option_why why)
{
    char quote[OPTION_QUOTE_BYTES_MAX + 1];
    size_t best = 0;
    size_t nearest = 0;
    for (size_t index = 0; index < OPTION_TABLE_COUNT; index++) {
        size_t likeness = option_likeness(option_table[index].option.name, text);
        if (likeness > best) {
            best = likeness;
            nearest = index;
        }
    }
    bool near = best >= OPTION_NEAR_BYTES_MIN;
    return option_refuse(why, "there is no option '%s'%s%s", option_quote(quote, text),
                         near ? "; the nearest is " : "",
                         near ? option_table[nearest].option.name : "");
}

WEIR_COLD int weir_pool_options_set(struct weir_pool_options *options, const char *name,
                                    const char *value, char *why, size_t why_bytes)
{
    weir_assert(options != NULL && name != NULL);
    weir_assert(why != NULL || why_bytes == 0);
    struct option_why refusal = {why, why_bytes};
    const char *text = value != NULL ? value : "";
    const struct option_entry *entry = option_table;
    const struct option_entry *end = option_table + OPTION_TABLE_COUNT;
    while (entry < end && strcmp(entry->option.name, name) != 0) {
        entry++;
    }
    if (entry == end) {
        return option_refuse_unknown(name, refusal);
    }
    option_why_clear(refusal);
    if (entry->kind == OPTION_STRING) {
        memcpy((unsigned char *)options + entry->offset, &text, sizeof(text));
        return 0;
    }
    if (entry->kind == OPTION_ENUM || entry->kind == OPTION_LEVEL) {
        return option_set_name(entry, options, text, refusal);
    }
    return option_set_number(entry, options, text, refusal);
}

WEIR_COLD void weir_pool_options_init(struct weir_pool_options *options)
{
    weir_assert(options != NULL);
    memset(options, 0, sizeof(*options));
    for (size_t index = 0; index < OPTION_TABLE_COUNT; index++) {
        const struct weir_option *option = &option_table[index].option;
        int error = weir_pool_options_set(options, option->name, option->initial, NULL, 0);
        weir_assert(error == 0);
    }
}

int weir_pool_options_check_values(const struct weir_pool_options *options, char *why,
                                   size_t why_bytes)
{
    weir_assert(options != NULL);
    weir_assert(why != NULL || why_bytes == 0);
    struct option_why refusal = {why, why_bytes};
    for (size_t index = 0; index < OPTION_TABLE_COUNT; index++) {
        const struct option_entry *entry = &option_table[index];
        if (entry->kind == OPTION_STRING || entry->kind == OPTION_LEVEL) {
            continue;
        }
        uint64_t value = option_load(entry, options);
        if (value >= entry->min && value <= entry->max) {
            continue;
        }
        char number[24];
        (void)snprintf(number, sizeof(number), "%" PRIu64, value);
        return entry->kind == OPTION_ENUM ? option_refuse_name(entry, number, refusal)
                                          : option_refuse_range(entry, number, refusal);
    }
    option_why_clear(refusal);
    return 0;
}
