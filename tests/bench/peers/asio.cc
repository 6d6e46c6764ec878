// asio on the rows of bench_runtime.c, bench_threads.c, bench_timers.c and bench_sockets.c.
//
// On the scheduler's rows "asio-callbacks" are plain callbacks, which cannot wait in the middle: posted
// instead of spawned, posted again instead of yielding; they are no futures, so that no target counts
// them. "asio-coroutine" are C++20 coroutines, which can. A oneshot is a channel with room for one.
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <asio.hpp>
#include <asio/experimental/concurrent_channel.hpp>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/bench/bench.h"

namespace {

constexpr int spawns = 10000, yielders = 200, yields = 1000, chain_length = 1000, pairs = 1000;

// Threads that run a context, and a bell that the last task rings.
class Pool {
public:
    explicit Pool(uint32_t workers)
        : io(static_cast<int>(workers)), guard(asio::make_work_guard(io))
    {
        for (uint32_t i = 0; i < workers; i++) {
            threads.emplace_back([this] { io.run(); });
        }
    }
    ~Pool()
    {
        guard.reset();
        io.stop();
        for (auto &thread : threads) {
            thread.join();
        }
    }
    void down()
    {
        if (left.fetch_sub(1) == 1) {
            std::lock_guard<std::mutex> hold(mutex);
            rung = true;
            bell.notify_one();
        }
    }
    void wait()
    {
        std::unique_lock<std::mutex> hold(mutex);
        bell.wait(hold, [this] { return rung; });
        rung = false;
    }
    asio::io_context io;
    std::atomic<int> left{0};

private:
    asio::executor_work_guard<asio::io_context::executor_type> guard;
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::condition_variable bell;
    bool rung = false;
};

// An iteration in a pool: begins with so many to go, ends when the last is down.
struct Iteration {
    Pool *pool;
    int count;
    void (*begin)(Pool &pool);
    static void run(void *argument)
    {
        auto *me = static_cast<Iteration *>(argument);
        me->pool->left = me->count;
        me->begin(*me->pool);
        me->pool->wait();
    }
};

template <int count, void (*begin)(Pool &pool)> void pool_measure(const bench_case *self)
{
    Pool pool(self->count);
    Iteration iteration{&pool, count, begin};
    bench_iterations(Iteration::run, &iteration);
}

// ---- Callbacks ----

void post_remote(Pool &pool)
{
    for (int i = 0; i < spawns; i++) {
        asio::post(pool.io, [&pool] { pool.down(); });
    }
}

void post_in_worker(Pool &pool)
{
    asio::post(pool.io, [&pool] { post_remote(pool); });
}

struct Reposter {
    Pool *pool;
    int turns;
    void operator()()
    {
        if (turns-- == 0) {
            pool->down();
        } else {
            asio::post(pool->io, *this);
        }
    }
};

void repost_many(Pool &pool)
{
    for (int i = 0; i < yielders; i++) {
        asio::post(pool.io, Reposter{&pool, yields});
    }
}

void repost_chain(Pool &pool)
{
    asio::post(pool.io, Reposter{&pool, chain_length});
}

// ---- Coroutines ----

asio::awaitable<void> leaf(Pool &pool)
{
    pool.down();
    co_return;
}

void spawn_remote(Pool &pool)
{
    for (int i = 0; i < spawns; i++) {
        asio::co_spawn(pool.io, leaf(pool), asio::detached);
    }
}

void spawn_in_worker(Pool &pool)
{
    asio::post(pool.io, [&pool] { spawn_remote(pool); });
}

asio::awaitable<void> yielder(Pool &pool)
{
    for (int i = 0; i < yields; i++) {
        co_await asio::post(pool.io, asio::use_awaitable);
    }
    pool.down();
}

void yield_many(Pool &pool)
{
    for (int i = 0; i < yielders; i++) {
        asio::co_spawn(pool.io, yielder(pool), asio::detached);
    }
}

asio::awaitable<void> link(Pool &pool, int left)
{
    if (left == 0) {
        pool.down();
    } else {
        asio::co_spawn(pool.io, link(pool, left - 1), asio::detached);
    }
    co_return;
}

void chained_spawn(Pool &pool)
{
    asio::co_spawn(pool.io, link(pool, chain_length), asio::detached);
}

using oneshot = asio::experimental::concurrent_channel<void(asio::error_code, int)>;

asio::awaitable<void> pong(std::shared_ptr<oneshot> there, std::shared_ptr<oneshot> back)
{
    co_await there->async_receive(asio::use_awaitable);
    back->try_send(asio::error_code(), 1);
}

asio::awaitable<void> ping(Pool &pool)
{
    auto there = std::make_shared<oneshot>(pool.io, 1), back = std::make_shared<oneshot>(pool.io, 1);
    asio::co_spawn(pool.io, pong(there, back), asio::detached);
    there->try_send(asio::error_code(), 1);
    co_await back->async_receive(asio::use_awaitable);
    pool.down();
}

void ping_pong(Pool &pool)
{
    asio::post(pool.io, [&pool] {
        for (int i = 0; i < pairs; i++) {
            asio::co_spawn(pool.io, ping(pool), asio::detached);
        }
    });
}

// ---- Timers: insert, cancel, fire, as in bench_timers.c ----

using timer_list = std::vector<asio::steady_timer>;
using std::chrono::nanoseconds;

nanoseconds timers_insert(timer_list &timers, nanoseconds &took)
{
    auto count = timers.size();
    auto before = bench_now_ns();
    auto begin = std::chrono::steady_clock::now();
    auto first = nanoseconds(100000000 + 2000 * count);
    for (size_t i = 0; i < count; i++) {
        auto place = (i * 7919) % count;
        timers[i].expires_at(begin + first + nanoseconds(place * 100000000 / count));
        timers[i].async_wait([](const asio::error_code &) {});
    }
    took = nanoseconds(bench_now_ns() - before);
    return first + nanoseconds(100000000);
}

void timers_measure(const bench_case *self)
{
    asio::io_context io(1);
    timer_list timers;
    for (uint32_t i = 0; i < self->count; i++) {
        timers.emplace_back(io);
    }
    nanoseconds took;
    timers_insert(timers, took);
    bench_sample("insert", "ns", static_cast<double>(took.count()) / self->count);
    auto before = bench_now_ns();
    for (auto &timer : timers) {
        timer.cancel();
    }
    io.run(); // a cancelled timer still calls back
    bench_sample("cancel", "ns", static_cast<double>(bench_now_ns() - before) / self->count);
    timers_insert(timers, took);
    timespec used[2];
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used[0]);
    io.restart();
    io.run();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used[1]);
    double fired_ns = static_cast<double>(used[1].tv_sec - used[0].tv_sec) * 1e9 +
                      static_cast<double>(used[1].tv_nsec - used[0].tv_nsec);
    bench_sample("fire", "ns", fired_ns / self->count);
}

// ---- Sockets: callbacks ----

using socket_type = asio::local::stream_protocol::socket;

class End : public std::enable_shared_from_this<End> {
public:
    explicit End(asio::io_context &io) : socket(io)
    {
    }
    void serve()
    {
        socket.async_read_some(asio::buffer(bytes), [me = shared_from_this()](auto error, auto count) {
            if (!error) {
                asio::async_write(me->socket, asio::buffer(me->bytes, count),
                                  [me](auto failed, auto) { failed ? void() : me->serve(); });
            }
        });
    }
    void turn(int left, int &running, asio::io_context &io)
    {
        if (left == 0) {
            if (--running == 0) {
                io.stop();
            }
            return;
        }
        asio::async_write(socket, asio::buffer(bytes), [=, this, &running, &io](auto, auto) {
            asio::async_read(socket, asio::buffer(bytes), [=, this, &running, &io](auto, auto) {
                turn(left - 1, running, io);
            });
        });
    }
    socket_type socket;

private:
    std::array<char, 64> bytes{};
};

struct Echo {
    asio::io_context io{1};
    std::vector<std::shared_ptr<End>> clients;
    static void run(void *argument)
    {
        auto *me = static_cast<Echo *>(argument);
        int running = static_cast<int>(me->clients.size());
        for (auto &client : me->clients) {
            client->turn(20, running, me->io);
        }
        me->io.run();
        me->io.restart();
    }
};

void echo_measure(const bench_case *self)
{
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    Echo echo;
    for (uint32_t i = 0; i < self->count; i++) {
        auto client = std::make_shared<End>(echo.io), server = std::make_shared<End>(echo.io);
        asio::local::connect_pair(client->socket, server->socket);
        server->serve();
        echo.clients.push_back(client);
    }
    bench_iterations(Echo::run, &echo);
}

} // namespace

int main(int argc, char **argv)
{
    for (uint32_t workers = 1; workers <= 8; workers *= 2) {
        auto add = [workers](const char *row, auto callbacks, auto coroutines) {
            bench_add("asio-callbacks", callbacks, nullptr, workers, "%s/%u", row, workers);
            bench_add("asio-coroutine", coroutines, nullptr, workers, "%s/%u", row, workers);
        };
        add("spawn_many_local", pool_measure<spawns, post_remote>,
            pool_measure<spawns, spawn_remote>);
        add("spawn_in_worker", pool_measure<spawns, post_in_worker>,
            pool_measure<spawns, spawn_in_worker>);
        add("yield_many", pool_measure<yielders, repost_many>, pool_measure<yielders, yield_many>);
        add("chained_spawn", pool_measure<1, repost_chain>, pool_measure<1, chained_spawn>);
        bench_add("asio-coroutine", pool_measure<pairs, ping_pong>, nullptr, workers,
                  "ping_pong/%u", workers);
    }
    for (uint32_t count = 1000; count <= 1000000; count *= 10) {
        bench_add("asio", timers_measure, nullptr, count, "timers/%u", count);
    }
    for (uint32_t count = 1; count <= 1000; count *= 10) {
        bench_add("asio", echo_measure, nullptr, count, "echo/%u", count);
    }
    bench_add("asio", echo_measure, nullptr, 9000, "echo/9000");
    return bench_main(argc, argv);
}
