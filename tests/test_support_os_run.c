// Tests of the faulty operating system in use: its virtual clock, many threads at once, torture.
#include "tests/support_faulty.h"

#include <poll.h>
#include <sys/socket.h>

#include "tests/support_random.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

static bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1;
}

// ---- Virtual clock ----

static void test_virtual_clock(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    struct weir_poller poller;
    struct weir_os_event event;
    uint64_t hour = 3600 * SECOND;
    support_os_virtual(faulty, 5 * SECOND);
    assert_int_equal(os.now_ns(os.self), 5 * SECOND);
    support_os_advance(faulty, 7);
    assert_int_equal(os.now_ns(os.self), 5 * SECOND + 7);
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, hour), 0);
    assert_int_equal(os.now_ns(os.self), hour);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 1), 0); // never back
    assert_int_equal(os.now_ns(os.self), hour);
    _Atomic uint32_t word = 3;
    assert_int_equal(os.futex_wait(os.self, &word, 2, 2 * hour), -EAGAIN);
    assert_int_equal(os.now_ns(os.self), hour);
    assert_int_equal(os.futex_wait(os.self, &word, 3, 2 * hour), -ETIMEDOUT);
    assert_int_equal(os.now_ns(os.self), 2 * hour);
    // Neither a wake nor readiness lets time pass.
    os.poller_wake(os.self, &poller);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 3 * hour), 0);
    assert_int_equal(os.now_ns(os.self), 2 * hour);
    int fd = os.socket_open(os.self, AF_UNIX, SOCK_DGRAM);
    assert_int_equal(os.poller_add(os.self, &poller, fd, 4), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 3 * hour), 1);
    assert_int_equal(os.now_ns(os.self), 2 * hour);
    assert_int_equal(os.socket_close(os.self, fd), 0);
    os.poller_close(os.self, &poller);
    faulty_end(faulty);
}

static void test_virtual_timer(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    struct weir_poller poller;
    struct weir_os_event event;
    uint64_t hour = 3600 * SECOND;
    support_os_virtual(faulty, hour);
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_int_equal(os.poller_arm(os.self, &poller, 2 * hour), 0);
    assert_int_equal(support_os_live(faulty).descriptors, 3);
    assert_false(is_readable(poller.fd));
    support_os_advance(faulty, hour - 1);
    assert_false(is_readable(poller.fd));
    support_os_advance(faulty, 1);
    assert_true(is_readable(poller.fd));
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 0);
    assert_false(is_readable(poller.fd));
    // A wait ends at the timer even if its own deadline is later, or there is none.
    assert_int_equal(os.poller_arm(os.self, &poller, 3 * hour), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    assert_int_equal(os.now_ns(os.self), 3 * hour);
    assert_int_equal(os.poller_arm(os.self, &poller, hour), 0); // long past
    assert_true(is_readable(poller.fd));
    assert_int_equal(os.poller_arm(os.self, &poller, WEIR_NEVER), 0);
    assert_false(is_readable(poller.fd));
    support_os_advance(faulty, hour);
    assert_false(is_readable(poller.fd));
    os.poller_close(os.self, &poller);
    faulty_end(faulty);
}

// ---- Many threads ----

struct hammer {
    const struct weir_os *os;
    struct weir_poller *poller;
    _Atomic uint32_t *stop;
};

static void hammer_socket(const struct hammer *hammer)
{
    const struct weir_os *os = hammer->os;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0) {
        return;
    }
    (void)os->poller_add(os->self, hammer->poller, fds[0], (uint64_t)fds[0]);
    char text[8];
    for (int index = 0; index < 4; index++) {
        (void)send_text(os, fds[1], "abcdef");
        (void)os->socket_recv(os->self, fds[0], text, sizeof text);
    }
    (void)os->socket_close(os->self, fds[0]);
    (void)os->socket_close(os->self, fds[1]);
}

static void hammer_run(void *argument)
{
    const struct hammer *hammer = argument;
    const struct weir_os *os = hammer->os;
    for (int index = 0; index < 200; index++) {
        void *memory = os->alloc(os->self, 100, 8);
        os->release(os->self, memory, 100);
        int fd = os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
        if (fd >= 0) {
            (void)os->socket_close(os->self, fd);
        }
        hammer_socket(hammer);
        os->poller_wake(os->self, hammer->poller);
    }
    atomic_fetch_add(hammer->stop, 1);
    os->poller_wake(os->self, hammer->poller);
}

static void test_many_threads(void **state)
{
    (void)state;
    uint64_t seed = seed_get();
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    struct weir_poller poller;
    struct weir_os_event events[16];
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    _Atomic uint32_t stop = 0;
    struct hammer hammer = {&os, &poller, &stop};
    uint64_t threads[4];
    for (int index = 0; index < 4; index++) {
        assert_int_equal(os.thread_start(os.self, &threads[index], hammer_run, &hammer), 0);
    }
    for (int row = 0; row < SUPPORT_OS_FUNCTIONS_COUNT; row++) {
        support_os_random(faulty, (enum support_os_function)row, seed, 50000);
    }
    while (atomic_load(&stop) < 4) {
        (void)os.poller_wait(os.self, &poller, events, 16, os.now_ns(os.self) + 10 * MS);
        support_os_fail(faulty, SUPPORT_OS_alloc, 3, 2, -ENOMEM);
        (void)support_os_live(faulty);
    }
    support_os_heal(faulty);
    for (int index = 0; index < 4; index++) {
        assert_int_equal(os.thread_join(os.self, threads[index]), 0);
    }
    os.poller_close(os.self, &poller);
    assert_int_equal(support_os_calls(faulty, SUPPORT_OS_alloc), 800);
    assert_true(support_os_faults(faulty, SUPPORT_OS_socket_recv) > 0);
    faulty_end(faulty);
}

// ---- Torture ----

struct plan {
    bool leaks_when_refused; // the planted mistake
    uint64_t runs;
    void *leaked; // remembered, so that the leak sanitizer has nothing to say
};

static void leaked_release(struct plan *plan)
{
    struct weir_os real = weir_os_linux();
    real.release(real.self, plan->leaked, 64);
    plan->leaked = NULL;
}

static const char *scenario(struct support_os *support, void *argument)
{
    struct plan *plan = argument;
    struct weir_os os = support_os_get(support);
    plan->runs++;
    leaked_release(plan);
    void *first = os.alloc(os.self, 64, 64);
    if (first == NULL) {
        return NULL;
    }
    void *second = os.alloc(os.self, 64, 64);
    if (second == NULL && plan->leaks_when_refused) {
        plan->leaked = first;
        return NULL;
    }
    int fd = second == NULL ? -1 : os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    if (fd >= 0) {
        (void)os.socket_close(os.self, fd);
    }
    os.release(os.self, second, 64);
    os.release(os.self, first, 64);
    return fd == -EACCES && plan->leaks_when_refused ? "access" : NULL;
}

static void test_torture(void **state)
{
    (void)state;
    unsetenv("WEIR_TORTURE");
    struct weir_os real = weir_os_linux();
    struct plan plan = {false, 0, NULL};
    struct support_os_torture torture = {.inner = &real, .scenario = scenario, .argument = &plan};
    uint64_t runs = 0;
    assert_int_equal(support_os_torture(&torture, &runs), 0);
    // Two allocations, six codes of socket_open, two of socket_close; and one run without a fault.
    assert_int_equal(runs, 2 + 6 + 2);
    assert_int_equal(plan.runs, runs + 1);
    torture.calls_max = 1;
    assert_int_equal(support_os_torture(&torture, &runs), 0);
    assert_int_equal(runs, 1 + 6 + 2);
    torture.calls_max = 0;
    torture.functions = UINT64_C(1) << SUPPORT_OS_alloc;
    torture.is_virtual = true;
    torture.calls_count = UINT64_MAX;
    assert_int_equal(support_os_torture(&torture, NULL), 0);
    torture.functions = 0;
    plan.leaks_when_refused = true;
    assert_int_equal(support_os_torture(&torture, NULL), 2);
    char text[64];
    (void)snprintf(text, sizeof text, "alloc %d 2", -ENOMEM);
    setenv("WEIR_TORTURE", text, 1);
    assert_int_equal(support_os_torture(&torture, &runs), 1);
    assert_int_equal(runs, 1);
    unsetenv("WEIR_TORTURE");
    leaked_release(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virtual_clock),
        cmocka_unit_test(test_virtual_timer),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests_name("support_os_run", tests, NULL, NULL);
}
