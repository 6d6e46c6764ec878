// Names: a table that the scenario fills, numeric addresses as inet_pton(3) reads them.
#include "sim/name.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/limits.h"
#include "sim/sim.h"

// Names of one run: a scenario has a few collectors.
#define NAMES_MAX 32
#define NS_PER_S 1000000000u
// After which a resolver that hears nothing gives up: two servers, three tries, ten seconds.
#define SILENCE_NS (60 * (uint64_t)NS_PER_S)

// What WEIR_SIM_NAME does to a lookup.
enum name_fault { NAME_AS_IT_IS, NAME_UNKNOWN, NAME_LATE, NAME_WRONG, NAME_SILENT };

struct name {
    char host[WEIR_HOST_BYTES_MAX];
    struct weir_address addresses[WEIR_ADDRESSES_MAX];
    uint32_t addresses_count;
    uint64_t delay_ns;
};

struct sim_names {
    struct name names[NAMES_MAX];
    uint32_t names_count;
};

struct sim_names *sim_names_create(void)
{
    return calloc(1, sizeof(struct sim_names));
}

void sim_names_destroy(struct sim_names *names)
{
    free(names);
}

void sim_names_begin(struct sim_names *names)
{
    names->names_count = 0;
}

// The place of the name, or the one after the last.
static uint32_t name_find(const struct sim_names *names, const char *host)
{
    uint32_t index = 0;
    while (index < names->names_count && strcmp(names->names[index].host, host) != 0) {
        index++;
    }
    return index;
}

void sim_names_set(struct weir_sim *sim, struct sim_names *names, const char *host,
                   const struct weir_address *addresses, uint32_t addresses_count,
                   uint64_t delay_ns)
{
    size_t host_bytes = strlen(host);
    weir_assert(host_bytes > 0 && host_bytes < WEIR_HOST_BYTES_MAX);
    weir_assert(addresses_count <= WEIR_ADDRESSES_MAX);
    uint32_t index = name_find(names, host);
    if (index == NAMES_MAX) {
        weir_sim_fail(sim, WEIR_SIM_INTERNAL, "too-many-names", "more than %d names in a run",
                      NAMES_MAX);
    }
    struct name *name = &names->names[index];
    names->names_count += index == names->names_count ? 1 : 0;
    memcpy(name->host, host, host_bytes + 1);
    for (uint32_t at = 0; at < addresses_count; at++) {
        name->addresses[at] = addresses[at];
    }
    name->addresses_count = addresses_count;
    name->delay_ns = delay_ns;
}

// ---- Addresses ----

static void address_make(struct weir_address *address, const void *native, size_t native_bytes)
{
    memset(address, 0, sizeof *address);
    memcpy(address->bytes, native, native_bytes);
    address->bytes_count = (uint32_t)native_bytes;
}

static bool address_parse(struct weir_address *address, const char *host)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, host, &four.sin_addr) == 1) {
        address_make(address, &four, sizeof four);
        return true;
    }
    if (inet_pton(AF_INET6, host, &six.sin6_addr) == 1) {
        address_make(address, &six, sizeof six);
        return true;
    }
    return false;
}

// In the same place in both families, as os_linux_socket.c asserts.
static void address_port(struct weir_address *address, uint16_t port)
{
    sa_family_t family = 0;
    memcpy(&family, address->bytes, sizeof family);
    if (family == AF_INET || family == AF_INET6) {
        uint16_t port_big_endian = htons(port);
        memcpy(address->bytes + offsetof(struct sockaddr_in, sin_port), &port_big_endian,
               sizeof port_big_endian);
    }
}

// ---- Resolving ----

// What the name stands for now: the count, 0 if nothing.
static uint32_t name_answer(const struct sim_names *names, const char *host,
                            struct weir_address *addresses, uint32_t addresses_max,
                            uint64_t *delay_ns)
{
    uint32_t index = name_find(names, host);
    if (index == names->names_count) {
        *delay_ns = 0;
        return 0;
    }
    const struct name *name = &names->names[index];
    uint32_t count = name->addresses_count < addresses_max ? name->addresses_count : addresses_max;
    memcpy(addresses, name->addresses, count * sizeof addresses[0]);
    *delay_ns = name->delay_ns;
    return count;
}

static void name_wait(struct weir_sim *sim, uint64_t delay_ns)
{
    uint64_t until_ns = sim_threads_now(sim->threads) + delay_ns;
    while (sim_threads_now(sim->threads) < until_ns) {
        (void)sim_block(sim, SIM_BLOCKED_NAME, 0, until_ns);
    }
}

// What a lookup that was asked now will say, and when. 192.0.2.0/24 is nobody's (RFC 5737).
static int name_ask(struct weir_sim *sim, const struct sim_names *names, const char *host,
                    struct weir_address *addresses, uint32_t addresses_max, uint64_t *delay_ns)
{
    uint32_t count = name_answer(names, host, addresses, addresses_max, delay_ns);
    switch ((enum name_fault)sim_fault(sim, WEIR_SIM_NAME, 4)) {
    case NAME_AS_IT_IS: break;
    case NAME_UNKNOWN: count = 0; break;
    case NAME_LATE: *delay_ns += NS_PER_S; break;
    case NAME_WRONG: count = address_parse(&addresses[0], "192.0.2.1") ? 1 : 0; break;
    case NAME_SILENT:
        count = 0;
        *delay_ns += SILENCE_NS;
        break;
    }
    return count > 0 ? (int)count : WEIR_ENAME;
}

int sim_names_resolve(struct weir_sim *sim, const struct sim_names *names, const char *host,
                      uint16_t port, bool numeric, struct weir_address *addresses,
                      uint32_t addresses_max)
{
    struct weir_address answer[WEIR_ADDRESSES_MAX];
    uint32_t answer_max = addresses_max < WEIR_ADDRESSES_MAX ? addresses_max : WEIR_ADDRESSES_MAX;
    uint64_t delay_ns = 0;
    int result = WEIR_ENAME;
    if (sim_fault(sim, WEIR_SIM_RESOURCE, 1) != 0) {
        result = WEIR_EMEMORY;
    } else if (address_parse(&answer[0], host)) {
        result = 1;
    } else if (!numeric) {
        result = name_ask(sim, names, host, answer, answer_max, &delay_ns);
    }
    name_wait(sim, delay_ns);
    for (int index = 0; index < result; index++) {
        address_port(&answer[index], port);
        addresses[index] = answer[index];
    }
    sim_event(sim, SIM_EVENT_RESOLVE, 0, (uint64_t)(int64_t)result, 0, NULL);
    return result;
}
