// When a writer tells its host of trouble and losses, and in what words.
#include "writer/report.h"

#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "writer/writer.h"

// Two endpoints, two times, all reasons with their numbers.
#define LINE_BYTES 768
#define MS UINT64_C(1000000)

#define REPORT_LABEL(name, label) label,
static const char *const report_faults[] = {WEIR_FAULTS(REPORT_LABEL)};
static const char *const report_reasons[] = {WEIR_DROPS(REPORT_LABEL) "full"};
#undef REPORT_LABEL

_Static_assert(WEIR_FAULTS_COUNT <= 32, "a word has a bit for each");

// ---- Lines ----

struct report_line {
    char text[LINE_BYTES];
    size_t length;
};

// So many bytes were written, or would have been, had there been room.
static void line_grow(struct report_line *line, int bytes)
{
    weir_assert(bytes >= 0 && (size_t)bytes < LINE_BYTES - line->length);
    line->length += (size_t)bytes;
}

#define line_print(line, ...)                                                                      \
    line_grow((line),                                                                              \
              snprintf((line)->text + (line)->length, LINE_BYTES - (line)->length, __VA_ARGS__))

static void line_text(struct report_line *line, const char *text)
{
    size_t bytes = strlen(text);
    weir_assert(bytes < LINE_BYTES - line->length);
    memcpy(line->text + line->length, text, bytes + 1);
    line->length += bytes;
}

static void line_endpoint(struct report_line *line, const struct weir_writer *me, uint32_t index)
{
    char text[WEIR_ENDPOINT_TEXT_BYTES_MAX];
    (void)weir_endpoint_format(&me->plan->endpoints[index], text, sizeof(text));
    line_text(line, text);
}

static void line_time(struct report_line *line, uint64_t wall_ns)
{
    char text[WEIR_TIMESTAMP_BYTES + 1];
    weir_timestamp_write(wall_ns / 1000000000u, (uint32_t)(wall_ns / 1000 % 1000000u), text);
    text[WEIR_TIMESTAMP_BYTES] = '\0';
    line_text(line, text);
}

// "full 20, refused 5"
static void line_reasons(struct report_line *line, const struct weir_report_sums *lost)
{
    const char *comma = "";
    for (uint32_t i = 0; i <= WEIR_REPORT_FULL; i++) {
        if (lost->messages[i] > 0) {
            line_print(line, "%s%s %llu", comma, report_reasons[i],
                       (unsigned long long)lost->messages[i]);
            comma = ", ";
        }
    }
}

// How long what the theme is about went on.
static uint64_t line_ms(const struct weir_report *report, enum weir_report_theme theme)
{
    return (report->end_ns[theme] - report->begin_ns[theme]) / MS;
}

static void line_trouble(struct report_line *line, const struct weir_writer *me)
{
    const struct weir_report *report = &me->report;
    if (report->stages[WEIR_REPORT_TROUBLE] == WEIR_REPORT_BEGUN) {
        line_text(line, "connection to ");
        line_endpoint(line, me, report->due_endpoint);
        line_print(line, " failed: %s", report_faults[report->due_fault]);
        if (report->due_reason != NULL) {
            line_print(line, ": %s; it had sent %llu bytes", report->due_reason,
                       (unsigned long long)report->due_bytes);
        }
    } else {
        uint64_t ms = line_ms(report, WEIR_REPORT_TROUBLE);
        line_text(line, "connected to ");
        line_endpoint(line, me, me->route.endpoint);
        line_print(line, " after %llu.%03llu s without a connection; failures: %u, the last at ",
                   (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000),
                   (unsigned)report->faults);
        line_endpoint(line, me, report->endpoint);
        line_print(line, ": %s", report_faults[report->fault]);
    }
}

static struct weir_report_sums sums_since(const struct weir_report_sums *now,
                                          const struct weir_report_sums *before)
{
    struct weir_report_sums since = {.bytes = now->bytes - before->bytes};
    for (uint32_t i = 0; i <= WEIR_REPORT_FULL; i++) {
        since.messages[i] = now->messages[i] - before->messages[i];
    }
    return since;
}

static uint64_t sums_messages(const struct weir_report_sums *sums)
{
    uint64_t messages = 0;
    for (uint32_t i = 0; i <= WEIR_REPORT_FULL; i++) {
        messages += sums->messages[i];
    }
    return messages;
}

static void line_losses(struct report_line *line, const struct weir_writer *me)
{
    const struct weir_report *report = &me->report;
    struct weir_report_sums lost = sums_since(&report->seen, &report->before);
    if (report->stages[WEIR_REPORT_LOSSES] == WEIR_REPORT_BEGUN) {
        line_text(line, "messages are being lost: ");
        line_reasons(line, &lost);
        return;
    }
    line_print(line, "no more messages are lost; lost were %llu messages, %llu bytes (",
               (unsigned long long)sums_messages(&lost), (unsigned long long)lost.bytes);
    line_reasons(line, &lost);
    line_text(line, ") between ");
    line_time(line, report->begin_wall_ns);
    line_text(line, " and ");
    line_time(line, report->end_wall_ns);
    uint64_t ms = line_ms(report, WEIR_REPORT_LOSSES);
    line_print(line, ", in %llu.%03llu s", (unsigned long long)(ms / 1000),
               (unsigned long long)(ms % 1000));
}

// ---- Saying ----

static bool report_wanted(const struct weir_writer *me)
{
    return me->plan->log != NULL;
}

static bool report_due(const struct weir_report *report, enum weir_report_theme theme)
{
    return report->stages[theme] != WEIR_REPORT_QUIET && report->stages[theme] != WEIR_REPORT_TOLD;
}

WEIR_COLD static void report_say(struct weir_writer *me, enum weir_report_theme theme)
{
    struct weir_report *report = &me->report;
    struct report_line line = {.length = 0};
    if (theme == WEIR_REPORT_TROUBLE) {
        line_trouble(&line, me);
    } else {
        line_losses(&line, me);
    }
    if (report->unsaid > 0) {
        line_print(&line, " ... and %llu more", (unsigned long long)report->unsaid);
    }
    if (report->stages[theme] == WEIR_REPORT_BEGUN) {
        report->stages[theme] = WEIR_REPORT_TOLD;
        if (theme == WEIR_REPORT_TROUBLE) {
            report->told[report->due_endpoint] |= UINT32_C(1) << report->due_fault;
        }
    } else {
        report->stages[theme] = WEIR_REPORT_QUIET;
    }
    report->unsaid = 0;
    report->last = theme;
    report->next_ns = me->now_ns + WEIR_REPORT_INTERVAL_NS;
    me->plan->log(me->plan->log_context, line.text);
}

// The line whose turn it is, if one may be said now.
static void report_say_next(struct weir_writer *me)
{
    struct weir_report *report = &me->report;
    enum weir_report_theme other =
        report->last == WEIR_REPORT_TROUBLE ? WEIR_REPORT_LOSSES : WEIR_REPORT_TROUBLE;
    if (me->now_ns < report->next_ns) {
        return;
    }
    if (report_due(report, other)) {
        report_say(me, other);
    } else if (report_due(report, report->last)) {
        report_say(me, report->last);
    }
}

// ---- Stages ----

// What the theme is about happens. `known`: a line has told of just that.
static void report_goes_on(struct weir_report *report, enum weir_report_theme theme, bool known)
{
    enum weir_report_stage *stage = &report->stages[theme];
    if (*stage == WEIR_REPORT_OVER || *stage == WEIR_REPORT_OVER_UNTOLD) {
        report->unsaid++; // it seemed over
    }
    bool told = known && (*stage == WEIR_REPORT_TOLD || *stage == WEIR_REPORT_OVER);
    *stage = told ? WEIR_REPORT_TOLD : WEIR_REPORT_BEGUN;
}

static void report_is_over(struct weir_report *report, enum weir_report_theme theme)
{
    enum weir_report_stage *stage = &report->stages[theme];
    if (*stage == WEIR_REPORT_BEGUN) {
        *stage = WEIR_REPORT_OVER_UNTOLD;
    } else if (*stage == WEIR_REPORT_TOLD) {
        *stage = WEIR_REPORT_OVER;
    }
}

void weir_report_fault(struct weir_writer *me, enum weir_fault fault)
{
    struct weir_report *report = &me->report;
    uint32_t endpoint = me->route.endpoint;
    if (!report_wanted(me)) {
        return;
    }
    if (report->stages[WEIR_REPORT_TROUBLE] == WEIR_REPORT_QUIET) {
        memset(report->told, 0, sizeof(report->told));
        report->begin_ns[WEIR_REPORT_TROUBLE] = me->now_ns;
        report->faults = 0;
    }
    report->faults++;
    report->fault = fault;
    report->endpoint = endpoint;
    bool known = (report->told[endpoint] >> fault & 1) != 0;
    if (!known && report->stages[WEIR_REPORT_TROUBLE] != WEIR_REPORT_BEGUN) {
        report->due_fault = fault; // others have their line when they come again
        report->due_endpoint = endpoint;
        report->due_reason = me->session.reason;
        report->due_bytes = me->session.received_bytes;
    }
    report_goes_on(report, WEIR_REPORT_TROUBLE, known);
    report_say_next(me);
}

void weir_report_connected(struct weir_writer *me)
{
    if (report_wanted(me)) {
        me->report.end_ns[WEIR_REPORT_TROUBLE] = me->now_ns;
        report_is_over(&me->report, WEIR_REPORT_TROUBLE);
        report_say_next(me);
    }
}

// ---- Losses ----

// The task's own books, and what logging threads counted; each number is exact, if a little old.
static void report_sum(const struct weir_writer *me, struct weir_report_sums *sums)
{
    const struct weir_books *books = &me->transit.books;
    const struct weir_counters *counters = &me->counters;
    memset(sums, 0, sizeof(*sums));
    for (uint32_t i = 0; i < WEIR_DROPS_COUNT; i++) {
        // Not those that the host took back, nor those that its close gave up: it knows.
        if (i != WEIR_DROPPED_ABANDONED && i != WEIR_DROPPED_DEADLINE) {
            sums->messages[i] = books->dropped_messages[i];
            sums->bytes += books->dropped_bytes[i];
        }
    }
    sums->messages[WEIR_DROPPED_OLDEST] =
        atomic_load_explicit(&counters->shed_messages, memory_order_relaxed);
    sums->messages[WEIR_REPORT_FULL] =
        atomic_load_explicit(&counters->rejected[WEIR_REJECTED_FULL], memory_order_relaxed);
    sums->bytes += atomic_load_explicit(&counters->shed_bytes, memory_order_relaxed);
    sums->bytes += atomic_load_explicit(&counters->rejected_full_bytes, memory_order_relaxed);
}

// There were losses since the last look.
WEIR_COLD static void report_lost(struct weir_writer *me)
{
    struct weir_report *report = &me->report;
    uint64_t wall_ns = me->os->wall_ns(me->os->self);
    if (report->stages[WEIR_REPORT_LOSSES] == WEIR_REPORT_QUIET) {
        report->before = report->seen;
        report->begin_ns[WEIR_REPORT_LOSSES] = me->now_ns;
        report->begin_wall_ns = wall_ns;
    }
    report->end_ns[WEIR_REPORT_LOSSES] = me->now_ns;
    report->end_wall_ns = wall_ns;
    report_goes_on(report, WEIR_REPORT_LOSSES, true);
}

static void report_look_for_losses(struct weir_writer *me)
{
    struct weir_report *report = &me->report;
    struct weir_report_sums now;
    report_sum(me, &now);
    if (sums_messages(&now) != sums_messages(&report->seen)) {
        report_lost(me);
    } else if (me->now_ns - report->end_ns[WEIR_REPORT_LOSSES] >= WEIR_REPORT_INTERVAL_NS) {
        report_is_over(report, WEIR_REPORT_LOSSES);
    }
    report->seen = now;
}

// Without a connection the task may not come by for long, while threads lose messages.
static uint64_t report_next_ns(const struct weir_writer *me)
{
    const struct weir_report *report = &me->report;
    uint64_t next_ns =
        me->machine < WEIR_STATE_READY ? me->now_ns + WEIR_REPORT_INTERVAL_NS : WEIR_NEVER;
    uint64_t end_ns = report->end_ns[WEIR_REPORT_LOSSES] + WEIR_REPORT_INTERVAL_NS;
    for (uint32_t i = 0; i < WEIR_REPORT_THEMES_COUNT; i++) {
        if (report_due(report, i) && report->next_ns < next_ns) {
            next_ns = report->next_ns;
        }
    }
    bool losing = report->stages[WEIR_REPORT_LOSSES] == WEIR_REPORT_BEGUN ||
                  report->stages[WEIR_REPORT_LOSSES] == WEIR_REPORT_TOLD;
    return losing && end_ns < next_ns ? end_ns : next_ns;
}

void weir_report_look(struct weir_writer *me)
{
    if (report_wanted(me)) {
        report_look_for_losses(me);
        report_say_next(me);
        me->alarms[WEIR_ALARM_REPORT] = report_next_ns(me);
    }
}

void weir_report_end(struct weir_writer *me)
{
    if (!report_wanted(me)) {
        return;
    }
    report_look_for_losses(me);
    report_is_over(&me->report, WEIR_REPORT_LOSSES);
    for (uint32_t i = 0; i < WEIR_REPORT_THEMES_COUNT; i++) {
        if (report_due(&me->report, i)) {
            report_say(me, i);
        }
    }
}
