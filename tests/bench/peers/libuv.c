// libuv on the rows of bench_timers.c, bench_sockets.c and cross_wake of bench_threads.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "tests/bench/bench.h"

#define ROUND_TRIPS 20u
#define WAKES 100u
#define MESSAGE_BYTES 64u

// ---- Timers: insert, cancel, fire; in whole milliseconds, which is what libuv has ----

static uint32_t fired;

static void timer_fired(uv_timer_t *timer)
{
    (void)timer;
    fired++;
}

static uint64_t timers_insert(uv_loop_t *loop, uv_timer_t *timers, uint32_t count)
{
    uint64_t before_ns = bench_now_ns(), first_ns = 100000000u + 2000u * (uint64_t)count;
    uv_update_time(loop);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t place = (uint64_t)i * 7919 % count;
        (void)uv_timer_start(&timers[i], timer_fired,
                             (first_ns + place * 100000000u / count) / 1000000u, 0);
    }
    return bench_now_ns() - before_ns;
}

static double processor_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void timers_measure(const struct bench_case *self)
{
    uv_loop_t *loop = uv_default_loop();
    uv_timer_t *timers = calloc(self->count, sizeof(*timers));
    bench_check(timers != NULL, "calloc");
    for (uint32_t i = 0; i < self->count; i++) {
        (void)uv_timer_init(loop, &timers[i]);
    }
    double count = self->count;
    bench_sample("insert", "ns", (double)timers_insert(loop, timers, self->count) / count);
    uint64_t before_ns = bench_now_ns();
    for (uint32_t i = 0; i < self->count; i++) {
        (void)uv_timer_stop(&timers[i]);
    }
    bench_sample("cancel", "ns", (double)(bench_now_ns() - before_ns) / count);
    (void)timers_insert(loop, timers, self->count);
    double used_ns = processor_ns();
    (void)uv_run(loop, UV_RUN_DEFAULT);
    bench_sample("fire", "ns", (processor_ns() - used_ns) / count);
    bench_check(fired == self->count, "not all have fired");
}

// ---- Sockets ----

struct end {
    uv_pipe_t pipe;
    uint32_t left, bytes; // turns; of the present message, read
    bool is_client;
    char out[MESSAGE_BYTES], in[MESSAGE_BYTES];
};

static uint32_t running;

static void buffer_give(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    struct end *end = (struct end *)handle;
    (void)wanted;
    *buffer = uv_buf_init(end->in, sizeof(end->in));
}

static void end_write(struct end *end, char *bytes, uint32_t count)
{
    uv_buf_t buffer = uv_buf_init(bytes, count);
    bench_check(uv_try_write((uv_stream_t *)&end->pipe, &buffer, 1) == (int)count, "write");
}

static void end_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct end *end = (struct end *)stream;
    (void)buffer;
    if (count <= 0) {
        return;
    }
    if (!end->is_client) {
        memcpy(end->out, end->in, (size_t)count);
        end_write(end, end->out, (uint32_t)count);
        return;
    }
    end->bytes += (uint32_t)count;
    if (end->bytes < MESSAGE_BYTES) {
        return;
    }
    end->bytes = 0;
    if (--end->left > 0) {
        end_write(end, end->out, MESSAGE_BYTES);
    } else if (--running == 0) {
        uv_stop(stream->loop);
    }
}

static void end_open(struct end *end, uv_loop_t *loop, int fd, bool is_client)
{
    end->is_client = is_client;
    bench_check(uv_pipe_init(loop, &end->pipe, 0) == 0 && uv_pipe_open(&end->pipe, fd) == 0 &&
                    uv_read_start((uv_stream_t *)&end->pipe, buffer_give, end_read) == 0,
                "pipe");
}

struct echo {
    struct end *ends; // clients and servers take turns
    uint32_t count;
};

static void echo_once(void *argument)
{
    struct echo *echo = argument;
    running = echo->count;
    for (uint32_t i = 0; i < echo->count; i++) {
        echo->ends[2 * i].left = ROUND_TRIPS;
        end_write(&echo->ends[2 * i], echo->ends[2 * i].out, MESSAGE_BYTES);
    }
    (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static void echo_measure(const struct bench_case *self)
{
    struct rlimit files;
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    struct echo echo = {calloc(2 * (size_t)self->count, sizeof(*echo.ends)), self->count};
    bench_check(echo.ends != NULL, "calloc");
    for (uint32_t i = 0; i < self->count; i++) {
        int pair[2];
        bench_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
        end_open(&echo.ends[2 * i], uv_default_loop(), pair[0], true);
        end_open(&echo.ends[2 * i + 1], uv_default_loop(), pair[1], false);
    }
    bench_iterations(echo_once, &echo);
}

// ---- Waking across threads: two loops, each on a thread of its own ----

struct side {
    uv_loop_t loop;
    uv_async_t woken;
    struct side *other;
    uint32_t left;
};

static void side_woken(uv_async_t *woken)
{
    struct side *side = woken->data;
    if (side->left > 0) {
        side->left--;
        (void)uv_async_send(&side->other->woken);
    }
    if (side->left == 0) {
        uv_stop(&side->loop);
    }
}

static void side_init(struct side *side, struct side *other)
{
    side->other = other;
    bench_check(uv_loop_init(&side->loop) == 0, "loop");
    bench_check(uv_async_init(&side->loop, &side->woken, side_woken) == 0, "async");
    side->woken.data = side;
}

static void far_run(void *argument)
{
    struct side *side = argument;
    for (;;) {
        (void)uv_run(&side->loop, UV_RUN_DEFAULT);
    }
}

static void cross_once(void *argument)
{
    struct side *near_side = argument;
    near_side->left = WAKES;
    (void)uv_async_send(&near_side->other->woken);
    (void)uv_run(&near_side->loop, UV_RUN_DEFAULT);
}

static void cross_measure(const struct bench_case *self)
{
    static struct side near_side, far_side; // they stay until the process ends
    uv_thread_t thread;
    (void)self;
    side_init(&near_side, &far_side);
    side_init(&far_side, &near_side);
    far_side.left = UINT32_MAX; // answers for ever
    bench_check(uv_thread_create(&thread, far_run, &far_side) == 0, "thread");
    bench_iterations(cross_once, &near_side);
    (void)fflush(NULL);
    _exit(0); // the thread goes on
}

int main(int argc, char **argv)
{
    for (uint32_t count = 1000; count <= 1000000; count *= 10) {
        bench_add("libuv", timers_measure, NULL, count, "timers/%u", count);
    }
    for (uint32_t count = 1; count <= 1000; count *= 10) {
        bench_add("libuv", echo_measure, NULL, count, "echo/%u", count);
    }
    bench_add("libuv", echo_measure, NULL, 9000, "echo/9000");
    bench_add("libuv", cross_measure, NULL, 1, "cross_wake/1");
    return bench_main(argc, argv);
}
