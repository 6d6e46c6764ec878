// The trace: a rolling hash over all events and a ring of the last ones.
#include "sim/trace.h"

#include <stdlib.h>
#include <string.h>

// Odd, with about half of their bits set: from the fractions of square roots of primes, as the
// initial values of SHA-512 (FIPS 180-4, 5.3.5), the last bit raised.
#define HASH_START UINT64_C(0x6a09e667f3bcc909)
#define HASH_OBJECT UINT64_C(0xbb67ae8584caa73b)
#define HASH_VALUE UINT64_C(0x3c6ef372fe94f82b)
#define HASH_TEXT UINT64_C(0xa54ff53a5f1d36f1)

struct sim_trace {
    uint64_t hash;
    uint64_t count;
    FILE *story;
    bool deviations_only;
    uint32_t next; // the ring's entry that is written next
    struct sim_event ring[SIM_LAST_EVENTS];
};

struct sim_trace *sim_trace_create(void)
{
    return calloc(1, sizeof(struct sim_trace));
}

void sim_trace_destroy(struct sim_trace *trace)
{
    free(trace);
}

void sim_trace_begin(struct sim_trace *trace, FILE *story, bool deviations_only)
{
    trace->hash = HASH_START;
    trace->count = 0;
    trace->next = 0;
    trace->story = story;
    trace->deviations_only = deviations_only;
}

// Both halves of the product folded together: each bit of the result depends on all of both. The
// mixing step of Wang Yi's wyhash.
static inline uint64_t fold(uint64_t one, uint64_t other)
{
    unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// Each word enters beside a different constant, so that the two of a step do not cancel out.
static inline uint64_t hash_event(uint64_t hash, const struct sim_event *event)
{
    uint64_t what = (uint64_t)event->kind | (uint64_t)event->actor << 8;
    uint64_t object = (uint64_t)event->object << 32;
    hash = fold(hash ^ what ^ object, event->now_ns ^ HASH_OBJECT);
    return fold(hash ^ event->a, event->b ^ HASH_VALUE);
}

// By value, not by memory: a platform's byte order may not show.
static uint64_t hash_text(uint64_t hash, const char *text)
{
    size_t length = strlen(text);
    for (size_t start = 0; start < length; start += 8) {
        uint64_t word = 0;
        for (size_t index = start; index < length && index < start + 8; index++) {
            word |= (uint64_t)(unsigned char)text[index] << (index - start) * 8;
        }
        hash = fold(hash ^ word, HASH_TEXT);
    }
    return fold(hash ^ length, HASH_TEXT);
}

static inline struct sim_event *ring_take(struct sim_trace *trace)
{
    struct sim_event *event = &trace->ring[trace->next];
    trace->next = trace->next + 1 == SIM_LAST_EVENTS ? 0 : trace->next + 1;
    event->number = trace->count++;
    return event;
}

static __attribute__((noinline)) void story_tell(struct sim_trace *trace,
                                                 const struct sim_event *event)
{
    if (!trace->deviations_only || event->kind == SIM_EVENT_DEVIATION ||
        event->kind == SIM_EVENT_NOTE) {
        sim_event_print(event, trace->story);
    }
}

void sim_trace_event(struct sim_trace *trace, enum sim_event_kind kind, uint32_t actor,
                     uint64_t now_ns, uint32_t object, uint64_t a, uint64_t b, const void *where)
{
    struct sim_event *event = ring_take(trace);
    event->now_ns = now_ns;
    event->a = a;
    event->b = b;
    event->actor = actor;
    event->object = object;
    event->kind = kind;
    event->where = where;
    event->text[0] = '\0';
    trace->hash = hash_event(trace->hash, event);
    if (__builtin_expect(trace->story != NULL, 0)) {
        story_tell(trace, event);
    }
}

void sim_trace_text(struct sim_trace *trace, enum sim_event_kind kind, uint32_t actor,
                    uint64_t now_ns, uint64_t a, const char *text)
{
    struct sim_event *event = ring_take(trace);
    event->now_ns = now_ns;
    event->a = a;
    event->b = 0;
    event->actor = actor;
    event->object = 0;
    event->kind = kind;
    event->where = NULL;
    size_t kept = strnlen(text, sizeof(event->text) - 1);
    memcpy(event->text, text, kept);
    event->text[kept] = '\0';
    trace->hash = hash_text(hash_event(trace->hash, event), text);
    if (trace->story != NULL) {
        story_tell(trace, event);
    }
}

uint64_t sim_trace_hash(const struct sim_trace *trace)
{
    return trace->hash;
}

uint64_t sim_trace_count(const struct sim_trace *trace)
{
    return trace->count;
}

void sim_trace_last(const struct sim_trace *trace, FILE *file)
{
    uint64_t kept = trace->count < SIM_LAST_EVENTS ? trace->count : SIM_LAST_EVENTS;
    for (uint64_t number = trace->count - kept; number < trace->count; number++) {
        sim_event_print(&trace->ring[number % SIM_LAST_EVENTS], file);
    }
}
