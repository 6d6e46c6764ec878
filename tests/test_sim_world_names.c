// Tests of the simulated os: names that resolve or do not, and descriptors that are closed.
#include "tests/support_scenario.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

// ---- Names ----

static int resolve(struct weir_sim *sim, const char *host, bool numeric,
                   struct weir_address *addresses, uint32_t addresses_max)
{
    const struct weir_os *os = weir_sim_os(sim);
    return os->resolve(os->self, host, 514, numeric, addresses, addresses_max);
}

static bool is_four(const struct weir_address *address, const char *text)
{
    struct sockaddr_in native;
    memcpy(&native, address->bytes, sizeof native);
    char printed[INET_ADDRSTRLEN];
    return address->bytes_count == sizeof native && native.sin_family == AF_INET &&
           native.sin_port == htons(514) &&
           inet_ntop(AF_INET, &native.sin_addr, printed, sizeof printed) != NULL &&
           strcmp(printed, text) == 0;
}

static struct weir_address four(const char *text)
{
    struct sockaddr_in native = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct weir_address address = {.bytes_count = sizeof native};
    (void)inet_pton(AF_INET, text, &native.sin_addr);
    memcpy(address.bytes, &native, sizeof native);
    return address;
}

static void body_numeric(struct weir_sim *sim)
{
    struct weir_address addresses[2];
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(resolve(sim, "127.0.0.1", true, addresses, 2) == 1);
    check(is_four(&addresses[0], "127.0.0.1"));
    check(resolve(sim, "10.1.2.3", false, addresses, 2) == 1);
    check(is_four(&addresses[0], "10.1.2.3"));
    check(resolve(sim, "::1", true, addresses, 2) == 1);
    struct sockaddr_in6 six;
    memcpy(&six, addresses[0].bytes, sizeof six);
    check(addresses[0].bytes_count == sizeof six && six.sin6_family == AF_INET6);
    check(six.sin6_port == htons(514) && six.sin6_scope_id == 0);
    check(memcmp(&six.sin6_addr, &in6addr_loopback, sizeof six.sin6_addr) == 0);
    check(resolve(sim, "host.example", true, addresses, 2) == WEIR_ENAME);
    check(resolve(sim, "host.example", false, addresses, 2) == WEIR_ENAME);
    check(resolve(sim, "1.2.3.4.5", false, addresses, 2) == WEIR_ENAME);
    check(weir_sim_now_ns(sim) < start_ns + MS);
}

static void body_named(struct weir_sim *sim)
{
    struct weir_address known[3] = {four("10.0.0.1"), four("10.0.0.2"), four("10.0.0.3")};
    struct weir_address addresses[8];
    weir_sim_name(sim, "host.example", known, 3, 2 * MS);
    weir_sim_name(sim, "other.example", known, 1, 0);
    known[0] = four("10.9.9.9"); // was copied
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(resolve(sim, "host.example", true, addresses, 8) == WEIR_ENAME); // never blocks
    check(weir_sim_now_ns(sim) < start_ns + MS);
    check(resolve(sim, "host.example", false, addresses, 8) == 3);
    check(weir_sim_now_ns(sim) >= start_ns + 2 * MS && weir_sim_now_ns(sim) < start_ns + 3 * MS);
    check(is_four(&addresses[0], "10.0.0.1") && is_four(&addresses[2], "10.0.0.3"));
    check(resolve(sim, "host.example", false, addresses, 2) == 2);
    check(resolve(sim, "other.example", false, addresses, 8) == 1);
    weir_sim_name(sim, "host.example", &known[2], 1, 0);
    check(resolve(sim, "host.example", false, addresses, 8) == 1);
    check(is_four(&addresses[0], "10.0.0.3"));
    weir_sim_name(sim, "host.example", NULL, 0, MS);
    start_ns = weir_sim_now_ns(sim);
    check(resolve(sim, "host.example", false, addresses, 8) == WEIR_ENAME);
    check(weir_sim_now_ns(sim) >= start_ns + MS);
}

static uint32_t name_fault;

static void body_name_faults(struct weir_sim *sim)
{
    struct weir_address known = four("10.0.0.1");
    struct weir_address addresses[8];
    weir_sim_name(sim, "host.example", &known, 1, MS);
    uint64_t start_ns = weir_sim_now_ns(sim);
    int count = resolve(sim, "host.example", false, addresses, 8);
    uint64_t took_ns = weir_sim_now_ns(sim) - start_ns;
    switch (name_fault) {
    case 1: check(count == WEIR_ENAME); break;
    case 2: check(count == 1 && is_four(&addresses[0], "10.0.0.1") && took_ns >= SECOND); break;
    case 3: check(count == 1 && !is_four(&addresses[0], "10.0.0.1")); break;
    case 4: check(count == WEIR_ENAME && took_ns >= 60 * SECOND); break;
    default: check(false);
    }
    check(resolve(sim, "host.example", false, addresses, 8) == 1);
}

static void body_name_no_memory(struct weir_sim *sim)
{
    struct weir_address addresses[1];
    check(resolve(sim, "127.0.0.1", true, addresses, 1) == WEIR_EMEMORY);
}

static void test_names(void **state)
{
    (void)state;
    pass(body_numeric);
    pass(body_named);
    for (name_fault = 1; name_fault <= 4; name_fault++) {
        pass_deviating(body_name_faults, WEIR_SIM_NAME, 0, 0, name_fault);
    }
    pass_deviating(body_name_no_memory, WEIR_SIM_RESOURCE, 0, 0, 1);
    pass(body_numeric); // and no name is left
}

// ---- Descriptors ----

static uint32_t plain_ready(struct weir_sim *sim, void *object)
{
    (void)sim;
    (void)object;
    return WEIR_WRITABLE;
}

static void plain_close(struct weir_sim *sim, void *object, int fd)
{
    (void)sim;
    *(int *)object = fd;
}

static int close_expected_code;

static void body_close(struct weir_sim *sim)
{
    static const struct sim_file_ops ops = {"plain", plain_ready, plain_close};
    const struct weir_os *os = weir_sim_os(sim);
    int closed = -1;
    int fd = sim_file_open(sim, &ops, &closed, 0);
    check(os->socket_close(os->self, fd) == close_expected_code && closed == fd);
    check(os->socket_close(os->self, fd) == -EBADF);
}

static int killed_fd;

static void owner_main(void *argument)
{
    struct weir_sim *sim = argument;
    static const struct sim_file_ops ops = {"plain", plain_ready, plain_close};
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    check(sim_file_open(sim, &ops, &killed_fd, process) == 3);
    weir_sim_sleep(sim, SECOND);
}

static void body_kill(struct weir_sim *sim)
{
    killed_fd = -1;
    uint32_t process = weir_sim_process_start(sim, owner_main, sim);
    weir_sim_sleep(sim, MS);
    check(killed_fd == -1);
    weir_sim_process_kill(sim, process);
    check(killed_fd == 3);
}

static void test_close(void **state)
{
    (void)state;
    pass(body_kill);
    close_expected_code = 0;
    pass(body_close);
    close_expected_code = -EINTR;
    pass_deviating(body_close, WEIR_SIM_INTERRUPT, 0, 0, 1); // and is closed all the same
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
