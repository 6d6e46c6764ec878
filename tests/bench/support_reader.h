// A collector for the benchmarks: a process of its own that reads all that comes, or measures it.
//
// It is started first of all, while the process is small and has no threads: a fork later would
// make every page of a buffer one that its next write has to copy. It ends with its parent.
#ifndef WEIR_TESTS_BENCH_SUPPORT_READER_H
#define WEIR_TESTS_BENCH_SUPPORT_READER_H

#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus // peers in C++ are linked with it
extern "C" {
#endif

// A message of the latency benchmark begins with the time in so many digits of base 16.
#define BENCH_STAMP_BYTES 16u

enum bench_transport { BENCH_UNIX, BENCH_TCP };

// slow: reads 4 KiB every 10 ms; stopped: by a signal, its connections stay; gone: nobody listens.
enum bench_health { BENCH_HEALTHY, BENCH_SLOW, BENCH_STOPPED, BENCH_GONE };

struct bench_arrivals;

struct bench_reader {
    pid_t pid;
    char endpoint[64]; // as an option of the pool
    enum bench_transport transport;
    uint32_t message_bytes; // on the wire, of stamped messages; 0: nothing is measured
    uint16_t port;
    struct bench_arrivals *arrivals; // in memory that both processes see
};

// Ends the program if something fails.
void bench_reader_start(struct bench_reader *reader, enum bench_transport transport,
                        uint32_t stamped_message_bytes);
// A blocking socket that is connected to it.
int bench_reader_connect(const struct bench_reader *reader);
// Waits until it has read so many bytes and says when it had.
uint64_t bench_reader_await_ns(const struct bench_reader *reader, uint64_t bytes);
// How old stamped messages were on their arrival; *count of them. Valid until it is stopped.
uint32_t *bench_reader_latencies_ns(const struct bench_reader *reader, uint32_t *count);
// What it is like from now on. Who is gone does not come back.
void bench_reader_become(const struct bench_reader *reader, enum bench_health health);
void bench_reader_stop(struct bench_reader *reader);

#ifdef __cplusplus
}
#endif

#endif
