// An event as a line of the story, with words for numbers where there are any.
#include "sim/trace.h"

#include <inttypes.h>
#include <link.h>
#include <string.h>

#include "sim/thread.h"

struct meaning {
    const char *label;
    const char *object;
    const char *a;
    const char *b;
};

#define MEANING(name, ...) {__VA_ARGS__},
static const struct meaning meanings[] = {SIM_EVENTS(MEANING)};
#undef MEANING

// ---- Words for numbers ----

#define KIND_LABEL(name, label, about) label,
static const char *const kind_labels[] = {WEIR_SIM_KINDS(KIND_LABEL)};
#undef KIND_LABEL
#define KIND_ABOUT(name, label, about) about,
static const char *const kind_abouts[] = {WEIR_SIM_KINDS(KIND_ABOUT)};
#undef KIND_ABOUT
#define REASON_LABEL(name, label) label,
static const char *const reason_labels[] = {SIM_REASONS(REASON_LABEL)};
#undef REASON_LABEL
static const char *const order_labels[] = {
    "relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst",
};
static const char *const wake_labels[] = {"woken", "deadline", "spurious"};

static const char *verdict_label(uint64_t verdict)
{
    switch (verdict) {
#define VERDICT_LABEL(name, status, label)                                                         \
    case name: return label;
        WEIR_SIM_VERDICTS(VERDICT_LABEL)
#undef VERDICT_LABEL
    default: return NULL;
    }
}

#define TABLE_LABEL(table, value)                                                                  \
    ((value) < sizeof(table) / sizeof((table)[0]) ? (table)[value] : NULL)

// The word of a value in the sense of its column; NULL: it is just a number.
static const char *value_label(enum sim_event_kind kind, const char *meaning, uint64_t value)
{
    if (strcmp(meaning, "order") == 0) {
        return TABLE_LABEL(order_labels, value);
    }
    if (strcmp(meaning, "kind") == 0) {
        return TABLE_LABEL(kind_labels, value);
    }
    if (strcmp(meaning, "verdict") == 0) {
        return verdict_label(value);
    }
    if (strcmp(meaning, "reason") == 0) {
        return kind == SIM_EVENT_BLOCK ? TABLE_LABEL(reason_labels, value)
                                       : TABLE_LABEL(wake_labels, value);
    }
    return NULL;
}

// A legend, such as "0 kill 1 stop", has a word for each value: where that begins, NULL without.
static const char *legend_word(const char *legend, uint64_t value)
{
    for (const char *at = legend; *at != '\0'; at += strcspn(at, " "), at += strspn(at, " ")) {
        uint64_t number = 0;
        const char *end = at;
        for (; *end >= '0' && *end <= '9'; end++) {
            number = number * 10 + (uint64_t)(*end - '0');
        }
        if (end > at && *end == ' ' && number == value) {
            return end + 1;
        }
    }
    return NULL;
}

static void time_print(uint64_t time_ns, FILE *file)
{
    const uint64_t second_ns = 1000000000;
    fprintf(file, "%" PRIu64 ".%09" PRIu64 " s", time_ns / second_ns, time_ns % second_ns);
}

static void value_print(enum sim_event_kind kind, const char *meaning, uint64_t value, FILE *file)
{
    if (meaning[0] == '\0') {
        return;
    }
    const char *label = value_label(kind, meaning, value);
    const char *word = legend_word(meaning, value);
    if (strcmp(meaning, "deadline") == 0 && value == UINT64_MAX) {
        fprintf(file, "  no deadline");
    } else if (strcmp(meaning, "deadline") == 0 || strcmp(meaning, "now") == 0) {
        fprintf(file, "  %s ", meaning);
        time_print(value, file);
    } else if (label != NULL) {
        fprintf(file, "  %s", label);
    } else if (word != NULL) {
        fprintf(file, "  %.*s", (int)strcspn(word, " "), word);
    } else {
        // Signed: results are negative error codes.
        fprintf(file, "  %s %" PRId64, meaning, (int64_t)value);
    }
}

// ---- Code positions ----

struct image {
    uintptr_t address;
    uintptr_t offset;
    const char *name;
};

static int image_visit(struct dl_phdr_info *info, size_t info_bytes, void *argument)
{
    (void)info_bytes;
    struct image *image = argument;
    for (int index = 0; index < info->dlpi_phnum; index++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[index];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && image->address - start < segment->p_memsz) {
            image->offset = image->address - info->dlpi_addr;
            image->name = info->dlpi_name;
            return 1;
        }
    }
    return 0;
}

// As the file has it, wherever it was loaded: what addr2line takes.
static void where_print(const void *where, FILE *file)
{
    struct image image = {.address = (uintptr_t)where};
    if (where != NULL && dl_iterate_phdr(image_visit, &image) != 0) {
        const char *slash = strrchr(image.name, '/');
        const char *name = slash != NULL ? slash + 1 : image.name; // "" for the program itself
        fprintf(file, "  at %s+0x%" PRIxPTR, name, image.offset);
    }
}

// ---- Lines ----

void sim_event_print(const struct sim_event *event, FILE *file)
{
    const struct meaning *meaning = &meanings[event->kind];
    fprintf(file, "  #%" PRIu64 "  t=", event->number);
    time_print(event->now_ns, file);
    fprintf(file, "  actor %" PRIu32 "  %s", event->actor, meaning->label);
    // A text says it all, but for the verdict: there it is the name.
    if (event->text[0] == '\0' || event->kind == SIM_EVENT_VERDICT) {
        value_print(event->kind, meaning->object, event->object, file);
        value_print(event->kind, meaning->a, event->a, file);
        value_print(event->kind, meaning->b, event->b, file);
    }
    if (event->kind == SIM_EVENT_DEVIATION && event->object < WEIR_SIM_KINDS_COUNT &&
        event->text[0] == '\0') {
        fprintf(file, "  (%s)", kind_abouts[event->object]);
    }
    if (event->text[0] != '\0') {
        fputs("  ", file);
    }
    for (const char *letter = event->text; *letter != '\0'; letter++) {
        fputc(*letter == '\n' ? ' ' : *letter, file); // one event, one line
    }
    where_print(event->where, file);
    fputc('\n', file);
}
