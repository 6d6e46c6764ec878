// Reports: the books as a table, as Prometheus text, and as a line that lives on a terminal.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "writer/command.h"

static const char *const rejection_labels[] = {
#define LABEL(name, label) [name] = (label),
    WEIR_REJECTIONS(LABEL)};
static const char *const drop_labels[] = {WEIR_DROPS(LABEL)};
static const char *const fault_labels[] = {WEIR_FAULTS(LABEL)};
#undef LABEL

static uint64_t sum(const uint64_t *numbers, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += numbers[i];
    }
    return total;
}

uint64_t weir_metrics_rejected(const struct weir_metrics *metrics)
{
    return sum(metrics->rejected_messages, WEIR_REJECTIONS_COUNT);
}

uint64_t weir_metrics_dropped(const struct weir_metrics *metrics)
{
    return sum(metrics->dropped_messages, WEIR_DROPS_COUNT);
}

uint64_t weir_metrics_retries(const struct weir_metrics *metrics)
{
    return metrics->faults[WEIR_FAULT_RESOLVE] + metrics->faults[WEIR_FAULT_CONNECT] +
           metrics->faults[WEIR_FAULT_CONNECT_TIMEOUT] + metrics->faults[WEIR_FAULT_RESOURCE];
}

const char *weir_number_text(char text[WEIR_NUMBER_TEXT_BYTES], uint64_t number)
{
    char digits[24];
    size_t count = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) {
            text[at++] = ',';
        }
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

// ---- The table ----

static void row(FILE *to, const char *name, uint64_t number)
{
    char text[WEIR_NUMBER_TEXT_BYTES];
    fprintf(to, "  %-26s %15s\n", name, weir_number_text(text, number));
}

static void row_bytes(FILE *to, const char *name, uint64_t number, uint64_t bytes)
{
    char text[WEIR_NUMBER_TEXT_BYTES];
    char bytes_text[WEIR_NUMBER_TEXT_BYTES];
    fprintf(to, "  %-26s %15s   %s bytes\n", name, weir_number_text(text, number),
            weir_number_text(bytes_text, bytes));
}

// Only the reasons that occurred.
static void rows_by_reason(FILE *to, const uint64_t *numbers, const char *const *labels,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] > 0) {
            char name[40];
            snprintf(name, sizeof(name), "    %s", labels[i]);
            row(to, name, numbers[i]);
        }
    }
}

// The upper bound of the bucket in which the given part of the values ends, as "2.05 ms".
static void quantile_text(char *text, size_t text_bytes, const struct weir_histogram *histogram,
                          double part)
{
    uint64_t seen = 0;
    size_t i = 0;
    for (; i + 1 < WEIR_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if ((double)seen >= part * (double)histogram->count) {
            break;
        }
    }
    double microseconds = (double)(UINT64_C(1) << i);
    if (microseconds < 1000) {
        snprintf(text, text_bytes, "%.0f us", microseconds);
    } else if (microseconds < 1000000) {
        snprintf(text, text_bytes, "%.3g ms", microseconds / 1000);
    } else {
        snprintf(text, text_bytes, "%.3g s", microseconds / 1000000);
    }
}

static void row_histogram(FILE *to, const char *name, const struct weir_histogram *histogram)
{
    if (histogram->count == 0) {
        return;
    }
    char half[24];
    char most[24];
    quantile_text(half, sizeof(half), histogram, 0.5);
    quantile_text(most, sizeof(most), histogram, 0.99);
    fprintf(to, "  %-26s %15s   half of them below; 99 in 100 below %s\n", name, half, most);
}

static void reasons_add(char *text, size_t text_bytes, const uint64_t *numbers,
                        const char *const *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(text);
        if (numbers[i] > 0) {
            snprintf(text + used, text_bytes - used, "%s%llu %s", used == 0 ? "" : ", ",
                     (unsigned long long)numbers[i], labels[i]);
        }
    }
}

void weir_report_reasons(const struct weir_metrics *metrics, char *text, size_t text_bytes)
{
    text[0] = '\0';
    reasons_add(text, text_bytes, metrics->rejected_messages, rejection_labels,
                WEIR_REJECTIONS_COUNT);
    reasons_add(text, text_bytes, metrics->dropped_messages, drop_labels, WEIR_DROPS_COUNT);
}

void weir_report_books(FILE *to, const struct weir_metrics *metrics, uint64_t elapsed_ns)
{
    row(to, "offered", metrics->offered_messages);
    row(to, "  rejected", weir_metrics_rejected(metrics));
    rows_by_reason(to, metrics->rejected_messages, rejection_labels, WEIR_REJECTIONS_COUNT);
    row_bytes(to, "  accepted", metrics->accepted_messages, metrics->accepted_bytes);
    row_bytes(to, "    confirmed", metrics->confirmed_messages, metrics->confirmed_bytes);
    row_bytes(to, "    held", metrics->held_messages, metrics->held_bytes);
    row_bytes(to, "    dropped", weir_metrics_dropped(metrics),
              sum(metrics->dropped_bytes, WEIR_DROPS_COUNT));
    rows_by_reason(to, metrics->dropped_messages, drop_labels, WEIR_DROPS_COUNT);
    row_bytes(to, "sent again", metrics->resent_messages, metrics->resent_bytes);
    row_bytes(to, "sends (system calls)", metrics->sends, metrics->sent_bytes);
    row(to, "connections made", metrics->connects);
    row(to, "connections lost", metrics->disconnects);
    row(to, "connections proven and replaced", metrics->epochs);
    uint64_t faults = sum(metrics->faults, WEIR_FAULTS_COUNT);
    if (faults > 0) {
        row(to, "faults", faults);
        rows_by_reason(to, metrics->faults, fault_labels, WEIR_FAULTS_COUNT);
    }
    row_histogram(to, "wait in the buffer", &metrics->buffer_await);
    row_histogram(to, "time to confirmation", &metrics->message_processing);
    double seconds = (double)elapsed_ns / 1e9;
    if (seconds > 0) {
        fprintf(to, "  %-26s %13.2f s   %.0f messages/s\n", "time", seconds,
                (double)metrics->confirmed_messages / seconds);
    }
    fprintf(to, "  the books %s\n",
            weir_metrics_balanced(metrics) ? "balance" : "DO NOT BALANCE: this is a bug in weir");
}

int weir_report_prometheus(FILE *to, const struct weir_metrics *metrics)
{
    size_t bytes = weir_metrics_text(metrics, NULL, 0) + 1;
    char *text = malloc(bytes);
    if (text == NULL) {
        return WEIR_EMEMORY;
    }
    (void)weir_metrics_text(metrics, text, bytes);
    fputs(text, to);
    free(text);
    return 0;
}

// ---- Progress ----

static void progress_write(int fd, const char *text, size_t bytes)
{
    ssize_t written = write(fd, text, bytes); // a missed update is no harm
    (void)written;
}

void weir_progress_show(struct weir_progress *progress, const struct weir_metrics *metrics,
                        uint64_t now_ns)
{
    if (progress->fd < 0) {
        return;
    }
    if (progress->at_ns != 0 && now_ns > progress->at_ns) {
        double seconds = (double)(now_ns - progress->at_ns) / 1e9;
        double rate = (double)(metrics->confirmed_messages - progress->confirmed) / seconds;
        // Smoothed, so that the eye can follow.
        progress->rate = progress->rate * 0.7 + rate * 0.3;
    }
    progress->at_ns = now_ns;
    progress->confirmed = metrics->confirmed_messages;
    char accepted[WEIR_NUMBER_TEXT_BYTES];
    char confirmed[WEIR_NUMBER_TEXT_BYTES];
    char held[WEIR_NUMBER_TEXT_BYTES];
    char state[64];
    if (metrics->writers == 1) {
        snprintf(state, sizeof(state), "%s",
                 metrics->writers_connected > 0 ? "connected" : "NOT CONNECTED");
    } else {
        snprintf(state, sizeof(state), "%llu of %llu connected",
                 (unsigned long long)metrics->writers_connected,
                 (unsigned long long)metrics->writers);
    }
    char text[400];
    int length = snprintf(text, sizeof(text),
                          "\r\033[K%s accepted, %s confirmed, %s held, %.0f/s, %s, "
                          "resent %llu, retries %llu",
                          weir_number_text(accepted, metrics->accepted_messages),
                          weir_number_text(confirmed, metrics->confirmed_messages),
                          weir_number_text(held, metrics->held_messages), progress->rate, state,
                          (unsigned long long)metrics->resent_messages,
                          (unsigned long long)weir_metrics_retries(metrics));
    if (length > 0 && (size_t)length < sizeof(text)) {
        progress_write(progress->fd, text, (size_t)length);
    }
}

void weir_progress_clear(const struct weir_progress *progress)
{
    if (progress->fd >= 0 && progress->at_ns != 0) {
        progress_write(progress->fd, "\r\033[K", 4);
    }
}
