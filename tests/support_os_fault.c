// The faulty operating system's faults: which call of which function shall go wrong, and how.
#include "tests/support_os_state.h"

#define ROW(name, ...) [SUPPORT_OS_##name] = {#name, (const int32_t[]){__VA_ARGS__}},
static const struct {
    const char *name;
    const int32_t *codes;
} table[SUPPORT_OS_FUNCTIONS_COUNT] = {SUPPORT_OS_FUNCTIONS(ROW)};
#undef ROW

_Static_assert(SUPPORT_OS_FUNCTIONS_COUNT <= 64, "struct support_os_torture has a set in 64 bits");
// Every member of struct weir_os but `self` is a pointer to a function: none is forgotten.
_Static_assert(sizeof(struct weir_os) == (SUPPORT_OS_FUNCTIONS_COUNT + 1) * sizeof(void *),
               "os.h has a function that the table lacks, or the other way round");

const char *support_os_name(enum support_os_function function)
{
    return table[function].name;
}

const int32_t *support_os_codes(enum support_os_function function)
{
    return table[function].codes;
}

// ---- Faults ----

static uint64_t add_relaxed(_Atomic uint64_t *number)
{
    return atomic_fetch_add_explicit(number, 1, memory_order_relaxed) + 1;
}

static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static struct fault fault_random(const struct rule *rule, enum support_os_function function,
                                 uint64_t call)
{
    struct fault none = {FAULT_NONE, 0, 0};
    uint32_t per_million = atomic_load_explicit(&rule->per_million, memory_order_relaxed);
    if (per_million == 0) {
        return none;
    }
    uint64_t seed = atomic_load_explicit(&rule->seed, memory_order_relaxed);
    uint64_t random = mix(seed ^ mix(call * SUPPORT_OS_FUNCTIONS_COUNT + function));
    if (random % 1000000 >= per_million) {
        return none;
    }
    random = mix(random);
    bool can_be_short = function == SUPPORT_OS_socket_send || function == SUPPORT_OS_socket_recv;
    if (can_be_short && (random & 1) != 0) {
        // Mostly tiny: the interesting cuts are inside a frame's head.
        return (struct fault){FAULT_SHORT, 0, 1 + (size_t)((random >> 8) % 16)};
    }
    const int32_t *codes = table[function].codes;
    uint64_t codes_count = 0;
    while (codes[codes_count] != SUPPORT_OS_END) {
        codes_count++;
    }
    if (codes_count == 0) {
        return none;
    }
    return (struct fault){FAULT_CODE, codes[(random >> 8) % codes_count], 0};
}

struct fault support_os_enter(struct support_os *me, enum support_os_function function)
{
    struct rule *rule = &me->rules[function];
    uint64_t call = add_relaxed(&me->calls[function]);
    struct fault fault = {FAULT_NONE, 0, 0};
    if (call >= atomic_load_explicit(&rule->first, memory_order_relaxed) &&
        call <= atomic_load_explicit(&rule->last, memory_order_relaxed)) {
        fault.kind = (enum fault_kind)atomic_load_explicit(&rule->kind, memory_order_relaxed);
        fault.code = atomic_load_explicit(&rule->code, memory_order_relaxed);
        fault.bytes_max = atomic_load_explicit(&rule->bytes_max, memory_order_relaxed);
    }
    if (fault.kind == FAULT_NONE) {
        fault = fault_random(rule, function, call);
    }
    if (fault.kind != FAULT_NONE) {
        add_relaxed(&me->faults[function]);
    }
    return fault;
}

static void rule_set(struct support_os *support, enum support_os_function function, uint64_t call,
                     uint64_t calls_count, const struct fault *fault)
{
    struct rule *rule = &support->rules[function];
    uint64_t first = support_os_calls(support, function) + call;
    uint64_t last = calls_count > UINT64_MAX - first ? UINT64_MAX : first + calls_count - 1;
    atomic_store_explicit(&rule->last, 0, memory_order_relaxed);
    atomic_store_explicit(&rule->kind, (uint32_t)fault->kind, memory_order_relaxed);
    atomic_store_explicit(&rule->code, fault->code, memory_order_relaxed);
    atomic_store_explicit(&rule->bytes_max, fault->bytes_max, memory_order_relaxed);
    atomic_store_explicit(&rule->first, first, memory_order_relaxed);
    atomic_store_explicit(&rule->last, calls_count == 0 ? 0 : last, memory_order_relaxed);
}

void support_os_fail(struct support_os *support, enum support_os_function function, uint64_t call,
                     uint64_t calls_count, int32_t code)
{
    struct fault fault = {FAULT_CODE, code, 0};
    rule_set(support, function, call, calls_count, &fault);
}

void support_os_short(struct support_os *support, enum support_os_function function, uint64_t call,
                      uint64_t calls_count, size_t bytes_max)
{
    struct fault fault = {FAULT_SHORT, 0, bytes_max};
    rule_set(support, function, call, calls_count, &fault);
}

void support_os_random(struct support_os *support, enum support_os_function function, uint64_t seed,
                       uint32_t faults_per_million)
{
    struct rule *rule = &support->rules[function];
    atomic_store_explicit(&rule->seed, seed, memory_order_relaxed);
    atomic_store_explicit(&rule->per_million, faults_per_million, memory_order_relaxed);
}

void support_os_heal(struct support_os *support)
{
    for (int function = 0; function < SUPPORT_OS_FUNCTIONS_COUNT; function++) {
        atomic_store_explicit(&support->rules[function].last, 0, memory_order_relaxed);
        atomic_store_explicit(&support->rules[function].per_million, 0, memory_order_relaxed);
    }
}

uint64_t support_os_calls(const struct support_os *support, enum support_os_function function)
{
    return atomic_load_explicit(&support->calls[function], memory_order_relaxed);
}

uint64_t support_os_faults(const struct support_os *support, enum support_os_function function)
{
    return atomic_load_explicit(&support->faults[function], memory_order_relaxed);
}
