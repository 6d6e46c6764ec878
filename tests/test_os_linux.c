// Tests of the real operating system door: clock, entropy, memory, fork guard, names, assertions.
#include "tests/support_door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "runtime/assert.h"

// ---- Clock, entropy, memory ----

static void test_clock(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    uint64_t last = now_ns(&os);
    assert_true(last > 0);
    for (int index = 0; index < 1000; index++) {
        uint64_t now = now_ns(&os);
        assert_true(now >= last);
        last = now;
    }
    pause_ms(2);
    assert_true(now_ns(&os) >= last + 2 * MS);
    uint64_t wall_s = os.wall_ns(os.self) / SECOND;
    uint64_t reference_s = (uint64_t)time(NULL);
    assert_true(wall_s + 10 > reference_s && wall_s < reference_s + 10);
}

static void test_entropy(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    unsigned char first[1000] = {0}, second[1000] = {0};
    os.entropy(os.self, first, sizeof first - 1);
    os.entropy(os.self, second, sizeof second - 1);
    assert_memory_not_equal(first, second, sizeof first - 1);
    assert_int_equal(first[sizeof first - 1], 0);
    uint32_t seen[256] = {0};
    for (size_t index = 0; index < sizeof first - 1; index++) {
        seen[first[index]]++;
    }
    for (size_t value = 0; value < 256; value++) {
        assert_true(seen[value] < 100); // 4 expected
    }
    os.entropy(os.self, NULL, 0);
}

static void test_alloc(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    static const size_t sizes[] = {
        1, 7, 64, 4096, 65536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 17};
    static const size_t alignments[] = {1, 8, 64, 4096, 65536, 1 << 21};
    for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
        for (size_t which = 0; which < sizeof alignments / sizeof alignments[0]; which++) {
            for (int again = 0; again < 2; again++) { // the second may get used memory back
                size_t bytes = sizes[size];
                unsigned char *memory = os.alloc(os.self, bytes, alignments[which]);
                assert_non_null(memory);
                assert_int_equal((uintptr_t)memory % alignments[which], 0);
                assert_int_equal(memory[0], 0);
                assert_int_equal(memcmp(memory, memory + 1, bytes - 1), 0);
                memset(memory, 0xa5, bytes);
                os.release(os.self, memory, bytes);
            }
        }
    }
    assert_null(os.alloc(os.self, SIZE_MAX, 64));
    assert_null(os.alloc(os.self, SIZE_MAX / 4, 64));
    os.release(os.self, NULL, 64);
    os.release(os.self, NULL, 1 << 20);
}

struct pages {
    unsigned long mapped, resident;
};

static struct pages pages_now(void)
{
    struct pages pages = {0};
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &pages.mapped, &pages.resident), 2);
    (void)fclose(file);
    return pages;
}

static void test_large_alloc_is_lazy_and_given_back(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct pages before = pages_now();
    for (int round = 0; round < 64; round++) { // what one round keeps, alignment's ends, adds up
        size_t bytes = ((size_t)256 << 20) + (size_t)round * 37 * 4096; // to lie differently
        void *memory = os.alloc(os.self, bytes, (size_t)1 << 21);
        assert_non_null(memory);
        assert_true(pages_now().resident < before.resident + 4096); // 65536 pages if touched
        os.release(os.self, memory, bytes);
    }
    assert_true(pages_now().mapped < before.mapped + 1024);
}

// ---- Fork guard ----

static void test_fork_guard(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    _Atomic uint32_t *word = NULL;
    assert_int_equal(os.fork_guard_open(os.self, &word), 0);
    assert_int_equal(atomic_load(word), 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            _exit(atomic_load(word) == 0 ? 0 : 1);
        }
        int status = -1;
        waitpid(grandchild, &status, 0);
        bool ok = atomic_load(word) == 0 && status == 0;
        os.fork_guard_close(os.self, word);
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(atomic_load(word), 1);
    os.fork_guard_close(os.self, word);
}

// ---- Names ----

static void test_resolve_numeric(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address addresses[4];
    assert_int_equal(os.resolve(os.self, "192.0.2.7", 601, true, addresses, 4), 1);
    assert_int_equal(addresses[0].bytes_count, sizeof(struct sockaddr_in));
    struct sockaddr_in v4;
    memcpy(&v4, addresses[0].bytes, sizeof v4);
    assert_int_equal(v4.sin_family, AF_INET);
    assert_int_equal(ntohs(v4.sin_port), 601);
    assert_int_equal(ntohl(v4.sin_addr.s_addr), 0xc0000207);
    assert_int_equal(os.resolve(os.self, "2001:db8::7", 65535, true, addresses, 4), 1);
    assert_int_equal(addresses[0].bytes_count, sizeof(struct sockaddr_in6));
    struct sockaddr_in6 v6;
    memcpy(&v6, addresses[0].bytes, sizeof v6);
    assert_int_equal(v6.sin6_family, AF_INET6);
    assert_int_equal(ntohs(v6.sin6_port), 65535);
    char text[INET6_ADDRSTRLEN];
    assert_string_equal(inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text), "2001:db8::7");
    static const char *const garbage[] = {"",          "localhost", "example.invalid",
                                          "1.2.3.4.5", "::g",       "300.1.1.1",
                                          "a b",       "\xff\xfe",  "[::1]"};
    for (size_t index = 0; index < sizeof garbage / sizeof garbage[0]; index++) {
        assert_int_equal(os.resolve(os.self, garbage[index], 1, true, addresses, 4), WEIR_ENAME);
    }
}

static void test_resolve_names(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address addresses[4] = {{.bytes_count = 0}};
    assert_int_equal(os.resolve(os.self, "127.0.0.1", 9, false, addresses, 4), 1);
    int count = os.resolve(os.self, "localhost", 9, false, addresses, 4);
    if (count == WEIR_ENAME) {
        skip(); // a machine without a hosts file
    }
    assert_in_range(count, 1, 4);
    for (int first = 0; first < count; first++) {
        assert_true(addresses[first].bytes_count >= sizeof(struct sockaddr_in));
        for (int second = first + 1; second < count; second++) { // one entry per address
            assert_memory_not_equal(addresses[first].bytes, addresses[second].bytes,
                                    sizeof addresses[first].bytes);
        }
    }
    struct weir_address before = addresses[1];
    assert_int_equal(os.resolve(os.self, "localhost", 9, false, addresses, 1), 1);
    assert_memory_equal(&before, &addresses[1], sizeof before);
    char longest[400];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(os.resolve(os.self, longest, 9, false, addresses, 4), WEIR_ENAME);
}

// ---- Assertions ----

// What the child that fails the assertion writes to standard error; `text` gets it, terminated.
static int assertion_output(const char *condition, char *text, size_t text_bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        weir_assert_failed(condition, "some/file.c", 42);
    }
    close(ends[1]);
    size_t count = 0;
    ssize_t got = 0;
    while ((got = read(ends[0], text + count, text_bytes - 1 - count)) > 0) {
        count += (size_t)got;
    }
    close(ends[0]);
    text[count] = '\0';
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_assertion(void **state)
{
    (void)state;
    char text[4096];
    int status = assertion_output("1 == 2", text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_string_equal(text, "weir: assertion failed: 1 == 2 (some/file.c:42)\n");
    char condition[2000];
    memset(condition, 'c', sizeof condition);
    condition[sizeof condition - 1] = '\0';
    status = assertion_output(condition, text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_in_range(strlen(text), 100, 1000);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_large_alloc_is_lazy_and_given_back),
        cmocka_unit_test(test_fork_guard),
        cmocka_unit_test(test_resolve_numeric),
        cmocka_unit_test(test_resolve_names),
        cmocka_unit_test(test_assertion),
    };
    return cmocka_run_group_tests_name("os_linux", tests, NULL, NULL);
}
