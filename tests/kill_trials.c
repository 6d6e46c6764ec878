// Kills real receivers on the real kernel and checks that the ledger never confirmed too much.
//
// Each trial connects a sender (this process) to a forked receiver that recv()s straight into
// memory shared with us: no byte is zero, so the filled prefix is what the process really read.
// The receiver is killed, or closes, at a random moment while we send and take samples.
//   UNIX: the truth is that prefix.
//   TCP:  the truth is what the peer's kernel received (tcpi_bytes_received of a second descriptor
//         for the accepted socket, kept here), because that is all an acknowledgement can mean.
// Controls are estimators known to be wrong. They are fed the same counts and must be caught: a
// comparison that cannot fail proves nothing. Random choices come from --seed; the races do not.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/ledger.h"

enum {
    STREAM_BYTES = 1 << 20,  // most that a trial sends; five Unix socket buffers
    READY = STREAM_BYTES,    // index of the byte in which a receiver says that it runs
    LOOKS_MAX = 100000,      // bound of a trial's loop, far beyond what a death takes
    PROOF_LIMIT_MS = 1000,
};

// What a receiver does, besides being killed.
struct habit {
    uint32_t chunk_bytes;  // most per recv
    uint32_t idle_loops;   // busy idling between two, at random up to this
    uint64_t sleep_after;  // stops reading here
    uint64_t close_after;  // closes here
    bool close_when_empty; // closes as soon as there is nothing to read
};

struct tally {
    const char *name;
    bool control;
    uint64_t trials, samples, wrong, short_bytes, truth_bytes;
};

// One estimator during one trial.
struct estimate {
    struct weir_ledger ledger;
    uint64_t confirmed, samples;
    bool wrong;
};

struct trial {
    bool tcp;
    int fd;      // the sender's end
    int kept_fd; // TCP: our descriptor of the receiver's end
    pid_t receiver;
    uint64_t seed;
    uint64_t written;
    uint64_t last_count; // UNIX
    bool rose;           // UNIX: the count, while nothing was sent
    uint32_t send_bytes_max;
    uint8_t *truth;
    const uint8_t *stream;
    struct estimate *estimates; // row by row as in the tables below
};

enum { LEDGER, LEDGER_END, DIFFERENCE, LOOK_FIRST, NO_LOOK, UNIX_ROWS };
enum { TCP_LEDGER, TCP_LEDGER_END, TCP_TAKEN, TCP_ROWS };

_Noreturn void weir_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, condition);
    abort();
}

// A broken harness must not look like a passed trial.
static void must(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "kill_trials: %s: %s\n", what, strerror(errno));
        exit(2);
    }
}

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t random_below(uint64_t *state, uint64_t bound)
{
    return random_next(state) % bound;
}

static void idle(uint64_t loops)
{
    // Volatile, or a compiler takes the loop out and with it the races that the controls lose.
    for (volatile uint64_t i = 0; i < loops; i++) {
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// Sender and receiver on different processors, so that death and sampling truly run side by side.
static void pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set); // fewer races without it, nothing else
}

static uint64_t outstanding(const struct trial *trial)
{
    int bytes = -1;
    must(ioctl(trial->fd, SIOCOUTQ, &bytes) == 0 && bytes >= 0, "SIOCOUTQ");
    return (uint64_t)bytes;
}

static bool alive(const struct trial *trial)
{
    struct pollfd look = {.fd = trial->fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) <= 0 || (look.revents & (POLLERR | POLLHUP)) == 0;
}

static int pending_error(const struct trial *trial)
{
    int error = 0;
    socklen_t size = sizeof error;
    must(getsockopt(trial->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0, "SO_ERROR");
    return error;
}

static struct tcp_info tcp_info_of(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    memset(&info, 0, sizeof info);
    must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0, "TCP_INFO");
    must(size > offsetof(struct tcp_info, tcpi_bytes_sent), "a kernel with tcpi_bytes_sent");
    return info;
}

static uint64_t kernel_received(const struct trial *trial)
{
    return tcp_info_of(trial->kept_fd).tcpi_bytes_received;
}

static uint64_t process_read(const struct trial *trial)
{
    const uint8_t *end = memchr(trial->truth, 0, trial->written);
    uint64_t bytes = end != NULL ? (uint64_t)(end - trial->truth) : trial->written;
    must(memcmp(trial->truth, trial->stream, bytes) == 0, "the stream arrived changed");
    return bytes;
}

static void receiver_run(int fd, uint8_t *memory, const struct habit *habit, uint64_t seed)
{
    uint64_t read_bytes = 0;

    memory[READY] = 1;
    while (read_bytes < STREAM_BYTES) {
        uint64_t chunk = 1 + random_below(&seed, habit->chunk_bytes);
        int waiting = 1;
        if (read_bytes >= habit->sleep_after) {
            pause();
        }
        if (habit->close_when_empty && read_bytes > 0 && ioctl(fd, FIONREAD, &waiting) == 0 &&
            waiting == 0) {
            break;
        }
        if (chunk > STREAM_BYTES - read_bytes) {
            chunk = STREAM_BYTES - read_bytes;
        }
        ssize_t got = recv(fd, memory + read_bytes, chunk, 0);
        if (got <= 0) {
            break;
        }
        read_bytes += (uint64_t)got;
        if (read_bytes >= habit->close_after) {
            break;
        }
        idle(random_below(&seed, habit->idle_loops + 1u));
    }
    close(fd);
    _exit(0);
}

static void tcp_pair(int pair[2], uint64_t *seed)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int buffer_bytes = 4096 << random_below(seed, 7);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0, "bind");
    if (random_below(seed, 2) == 0) {
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    }
    must(listen(listener, 1) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(pair[0], (struct sockaddr *)&address, size) == 0, "connect");
    pair[1] = accept(listener, NULL, NULL);
    must(pair[1] >= 0, "accept");
    close(listener);
}

static void trial_open(struct trial *trial, const struct habit *habit)
{
    int pair[2];
    uint64_t seed = random_next(&trial->seed);

    memset(trial->truth, 0, STREAM_BYTES + 1);
    if (trial->tcp) {
        tcp_pair(pair, &trial->seed);
    } else {
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    }
    fflush(NULL);
    trial->receiver = fork();
    must(trial->receiver >= 0, "fork");
    if (trial->receiver == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(1);
        close(pair[0]);
        receiver_run(pair[1], trial->truth, habit, seed);
    }
    trial->fd = pair[0];
    trial->kept_fd = pair[1];
    trial->written = 0;
    trial->last_count = 0;
    trial->rose = false;
    must(fcntl(trial->fd, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
    // Killing a receiver that has not begun would test very little.
    const volatile uint8_t *ready = &trial->truth[READY];
    for (uint64_t until = now_ms() + 10000; *ready == 0 && now_ms() < until;) {
        sched_yield();
    }
    must(*ready != 0, "the receiver never ran");
}

static void trial_kill(struct trial *trial)
{
    must(kill(trial->receiver, SIGKILL) == 0, "kill");
}

static void trial_close(struct trial *trial)
{
    must(waitpid(trial->receiver, NULL, 0) == trial->receiver, "waitpid");
    close(trial->fd);
}

// Sends once, if there is room, and tells every row. Returns false once sending is over for good.
static bool trial_send(struct trial *trial, unsigned rows)
{
    uint64_t bytes = 1 + random_below(&trial->seed, trial->send_bytes_max);
    if (bytes > STREAM_BYTES - trial->written) {
        bytes = STREAM_BYTES - trial->written;
    }
    if (bytes == 0) {
        return false;
    }
    ssize_t sent = send(trial->fd, trial->stream + trial->written, bytes, MSG_NOSIGNAL);
    if (sent > 0) {
        uint64_t after = trial->tcp ? 0 : outstanding(trial);
        trial->last_count = after;
        for (unsigned row = 0; row < rows; row++) {
            weir_ledger_sent(&trial->estimates[row].ledger, (uint64_t)sent, after);
        }
        trial->written += (uint64_t)sent;
        return true;
    }
    int error = errno;
    for (unsigned row = 0; row < rows; row++) {
        weir_ledger_error(&trial->estimates[row].ledger, error);
    }
    return error == EAGAIN || error == EINTR;
}

static void judge(struct trial *trial, unsigned row, uint64_t confirmed, uint64_t truth)
{
    struct estimate *estimate = &trial->estimates[row];
    must(confirmed >= estimate->confirmed, "an estimate fell");
    estimate->samples++;
    estimate->confirmed = confirmed;
    estimate->wrong |= confirmed > truth;
}

// One sample by all Unix estimators from the same count. Reading is in order, so the byte before
// the confirmed end tells whether the claim is true at this very moment.
static void unix_look(struct trial *trial)
{
    bool before = alive(trial);
    if (random_below(&trial->seed, 2) == 0) {
        idle(random_below(&trial->seed, 10000)); // a sender may lose its processor anywhere
    }
    uint64_t count = outstanding(trial);
    __sync_synchronize();
    bool after = alive(trial);
    trial->rose |= count > trial->last_count;
    trial->last_count = count;

    for (unsigned row = LEDGER; row <= NO_LOOK; row++) {
        struct estimate *estimate = &trial->estimates[row];
        uint64_t confirmed = estimate->confirmed;
        if (row == DIFFERENCE) {
            uint64_t difference = trial->written > count ? trial->written - count : 0;
            confirmed = after && difference > confirmed ? difference : confirmed;
        } else if (row != LEDGER_END) {
            bool lives = row == LEDGER ? after : row == LOOK_FIRST ? before : true;
            confirmed = weir_ledger_sample(&estimate->ledger, count, lives);
        } else {
            continue;
        }
        bool read_now = confirmed == 0 || trial->truth[confirmed - 1] != 0;
        judge(trial, row, confirmed, read_now ? confirmed : 0);
    }
}

// A habit in which reading, sleeping and closing at every place of the stream are all likely.
static struct habit habit_random(struct trial *trial)
{
    static const uint32_t chunks[] = {100, 1000, 10000, 65536};
    struct habit habit = {.sleep_after = UINT64_MAX, .close_after = UINT64_MAX};
    uint64_t kind = random_below(&trial->seed, 6);

    habit.chunk_bytes = chunks[random_below(&trial->seed, 4)];
    habit.idle_loops = (uint32_t)(random_below(&trial->seed, 2) * 20000);
    if (kind == 0) {
        habit.close_after = 1 + random_below(&trial->seed, 400000);
    } else if (kind == 1) {
        habit.sleep_after = random_below(&trial->seed, 400000);
    } else if (kind == 2) {
        habit.close_when_empty = true;
    }
    return habit;
}

static void trial_start(struct trial *trial, unsigned rows)
{
    static const uint32_t sizes[] = {200, 2000, 20000, 100000};
    struct habit habit = habit_random(trial);
    enum weir_ledger_kind kind = trial->tcp ? WEIR_LEDGER_TCP : WEIR_LEDGER_UNIX;

    for (unsigned row = 0; row < rows; row++) {
        memset(&trial->estimates[row], 0, sizeof trial->estimates[row]);
        weir_ledger_init(&trial->estimates[row].ledger, kind);
    }
    if (trial->tcp) {
        weir_ledger_init(&trial->estimates[TCP_TAKEN].ledger, WEIR_LEDGER_SENT);
    }
    trial->send_bytes_max = sizes[random_below(&trial->seed, 4)];
    trial_open(trial, &habit);
}

// Adds a finished trial to the books.
static void trial_count(const struct trial *trial, struct tally *tallies, unsigned rows,
                        uint64_t truth)
{
    for (unsigned row = 0; row < rows; row++) {
        const struct estimate *estimate = &trial->estimates[row];
        bool wrong = estimate->wrong || estimate->confirmed > truth;
        tallies[row].trials++;
        tallies[row].samples += estimate->samples;
        tallies[row].wrong += wrong;
        tallies[row].truth_bytes += truth;
        tallies[row].short_bytes += estimate->confirmed < truth ? truth - estimate->confirmed : 0;
    }
}

static void unix_trial(struct trial *trial, struct tally *tallies, uint64_t *rises)
{
    trial_start(trial, UNIX_ROWS);
    close(trial->kept_fd);

    uint64_t kill_at = random_below(&trial->seed, 400);
    // Sends go on across the death; then looks only. One in four is given up in the middle of it.
    uint64_t stop_at = kill_at + random_below(&trial->seed, 40);
    uint64_t give_up = random_below(&trial->seed, 4) == 0 ? 1 + random_below(&trial->seed, 200)
                                                          : LOOKS_MAX;
    bool sending = true;
    uint64_t looks_after = 3;
    for (uint64_t i = 0; i < LOOKS_MAX && looks_after > 0 && i < kill_at + give_up; i++) {
        if (i == kill_at) {
            trial_kill(trial);
        }
        if (sending && i < stop_at && random_below(&trial->seed, 4) != 0) {
            sending = trial_send(trial, UNIX_ROWS);
        }
        unix_look(trial);
        if (trial->estimates[LEDGER].ledger.gone && i > kill_at) {
            looks_after--;
        }
    }
    if (sending) {
        sending = trial_send(trial, UNIX_ROWS); // EPIPE, or the error that must not get lost
    }
    uint64_t count = outstanding(trial);
    __sync_synchronize();
    struct estimate *end = &trial->estimates[LEDGER_END];
    // The row for the end is the ledger's own last state, and one more fact.
    *rises += trial->rose;
    end->ledger = trial->estimates[LEDGER].ledger;
    uint64_t confirmed = weir_ledger_died(&end->ledger, count, pending_error(trial));
    trial_close(trial);
    judge(trial, LEDGER_END, confirmed, process_read(trial));
    trial_count(trial, tallies, UNIX_ROWS, process_read(trial));
}

static void tcp_look(struct trial *trial)
{
    uint64_t count = outstanding(trial);
    uint64_t truth = kernel_received(trial);
    const unsigned rows[] = {TCP_LEDGER, TCP_TAKEN};
    for (unsigned i = 0; i < 2; i++) {
        struct weir_ledger *ledger = &trial->estimates[rows[i]].ledger;
        judge(trial, rows[i], weir_ledger_sample(ledger, count, true), truth);
    }
}

// Waits until nothing moves any more. With `acknowledge`, delayed acknowledgements are asked for,
// so that the sender knows all there is to know; without, it may die knowing less.
static uint64_t tcp_settle(const struct trial *trial, bool acknowledge)
{
    uint64_t truth = kernel_received(trial);
    for (int i = 0, still = 0; i < 200 && still < 3; i++) {
        uint64_t last = truth;
        if (acknowledge) {
            must(setsockopt(trial->kept_fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int)) == 0,
                 "TCP_QUICKACK");
        }
        usleep(200);
        truth = kernel_received(trial);
        bool moving = acknowledge && tcp_info_of(trial->fd).tcpi_unacked > 0;
        still = truth == last && !moving ? still + 1 : 0;
    }
    return truth;
}

// Returns the bytes that the peer's kernel acknowledged and its process had never read.
static uint64_t tcp_trial(struct trial *trial, struct tally *tallies)
{
    trial_start(trial, TCP_ROWS);
    uint64_t kill_at = random_below(&trial->seed, 200);
    uint64_t stop_at = kill_at + random_below(&trial->seed, 100);
    bool sending = true;
    for (uint64_t i = 0; i <= stop_at; i++) {
        if (i == kill_at) {
            trial_kill(trial);
        }
        if (sending && random_below(&trial->seed, 4) != 0) {
            sending = trial_send(trial, TCP_ROWS);
        }
        tcp_look(trial);
    }
    if (random_below(&trial->seed, 4) == 0 && shutdown(trial->fd, SHUT_WR) == 0) {
        for (unsigned row = 0; row < TCP_ROWS; row++) {
            weir_ledger_shutdown(&trial->estimates[row].ledger);
        }
        tcp_look(trial);
    }
    must(waitpid(trial->receiver, NULL, 0) == trial->receiver, "waitpid");
    tcp_settle(trial, random_below(&trial->seed, 2) == 0);
    uint64_t sent = tcp_info_of(trial->fd).tcpi_bytes_sent;
    uint64_t truth = kernel_received(trial);
    close(trial->kept_fd); // with unread data: a reset
    for (uint64_t until = now_ms() + 20; alive(trial) && now_ms() < until;) {
        usleep(50);
    }
    struct estimate *end = &trial->estimates[TCP_LEDGER_END];
    uint64_t count = outstanding(trial);
    end->ledger = trial->estimates[TCP_LEDGER].ledger;
    uint64_t confirmed = weir_ledger_died(&end->ledger, count, pending_error(trial));
    judge(trial, TCP_LEDGER_END, confirmed, truth);
    // Had something more left in between, the truth would be too small: such a trial is void.
    bool valid = tcp_info_of(trial->fd).tcpi_bytes_sent == sent;
    close(trial->fd);
    if (!valid) {
        return 0;
    }
    trial_count(trial, tallies, TCP_ROWS, truth);
    return end->confirmed > process_read(trial) ? end->confirmed - process_read(trial) : 0;
}

// Walks the four steps of the proof; false when one of them fails or the time is up.
static bool proof_walk(struct trial *trial, struct weir_ledger *ledger)
{
    uint64_t until = now_ms() + PROOF_LIMIT_MS;
    char byte;

    if (shutdown(trial->fd, SHUT_WR) != 0) {
        return false;
    }
    weir_ledger_shutdown(ledger);
    while (ledger->step == WEIR_LEDGER_SHUT && now_ms() < until) {
        ssize_t got = recv(trial->fd, &byte, 1, 0);
        if (got == 0) {
            weir_ledger_end_of_stream(ledger);
        } else if (got < 0) {
            weir_ledger_error(ledger, errno);
        }
    }
    while (ledger->step == WEIR_LEDGER_ENDED && !ledger->reset && now_ms() < until) {
        if (weir_ledger_emptied(ledger, outstanding(trial))) {
            __sync_synchronize();
            (void)weir_ledger_proven(ledger, pending_error(trial));
        }
    }
    return ledger->step == WEIR_LEDGER_PROVEN;
}

// Orderly ends with all sorts of receivers, some killed meanwhile; a proven end must be a read one.
// In its row: trials are ends tried, samples are claims, short bytes are true ends not claimed.
static void proof_trial(struct trial *trial, struct tally *tally)
{
    trial_start(trial, 1);
    close(trial->kept_fd);
    uint64_t sends = 1 + random_below(&trial->seed, 100);
    bool killed = random_below(&trial->seed, 3) == 0, sending = true;
    for (uint64_t i = 0; i < sends && sending; i++) {
        sending = trial_send(trial, 1);
    }
    if (killed) {
        idle(random_below(&trial->seed, 100000));
        trial_kill(trial);
    }
    struct weir_ledger *ledger = &trial->estimates[0].ledger;
    ssize_t early = recv(trial->fd, &(char){0}, 1, 0);
    if (early == 0) {
        weir_ledger_end_of_stream(ledger);
    } else if (early < 0) {
        weir_ledger_error(ledger, errno); // forgetting it here would make false proofs
    }
    bool proven = proof_walk(trial, ledger);
    if (!killed) {
        trial_kill(trial); // the sleepers; a zombie does not mind
    }
    trial_close(trial);
    uint64_t truth = process_read(trial);
    tally->trials++;
    tally->samples += proven;
    tally->wrong += proven && truth < trial->written;
    tally->truth_bytes += truth;
    tally->short_bytes += !proven && truth == trial->written ? trial->written : 0;
}

// Prints one transport's table. Returns whether the estimators held and the controls failed.
static bool report(const char *transport, const struct tally *tallies, unsigned rows)
{
    bool good = true;
    printf("\n%-4s %-40s %7s %9s %6s %11s %11s\n", transport, "estimator", "trials", "samples",
           "false", "mean truth", "mean below");
    for (unsigned row = 0; row < rows; row++) {
        const struct tally *tally = &tallies[row];
        bool fine = tally->trials == 0 || (tally->wrong > 0) == tally->control;
        uint64_t trials = tally->trials > 0 ? tally->trials : 1;
        printf("     %-40s %7" PRIu64 " %9" PRIu64 " %6" PRIu64 " %11" PRIu64 " %11" PRIu64 "%s\n",
               tally->name, tally->trials, tally->samples, tally->wrong,
               tally->truth_bytes / trials, tally->short_bytes / trials,
               fine ? "" : tally->control ? "  <- the control was not caught" : "  <- WRONG");
        good = good && fine;
    }
    return good;
}

static bool run_unix(struct trial *trial, uint64_t trials)
{
    struct tally tallies[UNIX_ROWS + 1] = {
        [LEDGER] = {.name = "ledger (count, then look)"},
        [LEDGER_END] = {.name = "ledger, end of the connection"},
        [DIFFERENCE] = {.name = "written - outstanding, then look"},
        [LOOK_FIRST] = {.name = "control: ledger, look before the count", .control = true},
        [NO_LOOK] = {.name = "control: ledger, no look at all", .control = true},
        [UNIX_ROWS] = {.name = "proof at an orderly end (samples: claims)"},
    };
    uint64_t rises = 0;
    trial->tcp = false;
    for (uint64_t i = 0; i < trials; i++) {
        unix_trial(trial, tallies, &rises);
        if (i % 4 == 0) {
            proof_trial(trial, &tallies[UNIX_ROWS]);
        }
    }
    bool good = report("unix", tallies, UNIX_ROWS + 1);
    printf("     counts that rose without a send of ours: in %" PRIu64 " trials\n", rises);
    return good && rises == 0;
}

static bool run_tcp(struct trial *trial, uint64_t trials)
{
    struct tally tallies[TCP_ROWS + 1] = {
        [TCP_LEDGER] = {.name = "ledger (written - outstanding)"},
        [TCP_LEDGER_END] = {.name = "ledger, after death"},
        [TCP_TAKEN] = {.name = "control: what our kernel took", .control = true},
        [TCP_ROWS] = {.name = "proof at an orderly end (samples: claims)"},
    };
    uint64_t unread_sum = 0, unread_max = 0, unread_trials = 0;
    trial->tcp = true;
    for (uint64_t i = 0; i < trials; i++) {
        uint64_t unread = tcp_trial(trial, tallies);
        unread_sum += unread;
        unread_trials += unread > 0;
        unread_max = unread > unread_max ? unread : unread_max;
        if (i % 4 == 0) {
            proof_trial(trial, &tallies[TCP_ROWS]);
        }
    }
    bool good = report("tcp", tallies, TCP_ROWS + 1);
    printf("     confirmed, yet never read by the process: in %" PRIu64 " of %" PRIu64
           " trials, mean %" PRIu64 " bytes, most %" PRIu64 "\n",
           unread_trials, tallies[0].trials, trials > 0 ? unread_sum / trials : 0, unread_max);
    printf("     void, because something moved at the end: %" PRIu64 "\n",
           trials - tallies[0].trials);
    return good && tallies[0].trials >= trials / 2;
}

int main(int argc, char **argv)
{
    uint64_t trials = 1000;
    const char *transport = "all";
    const char *seed_text = getenv("WEIR_SEED");
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : (uint64_t)time(NULL);

    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value != NULL && strcmp(argv[i], "--trials") == 0) {
            trials = strtoull(value, NULL, 0);
        } else if (value != NULL && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(value, NULL, 0);
        } else if (value != NULL && strcmp(argv[i], "--transport") == 0 &&
                   (strcmp(value, "unix") == 0 || strcmp(value, "tcp") == 0 ||
                    strcmp(value, "all") == 0)) {
            transport = value;
        } else {
            fprintf(stderr, "usage: kill_trials [--trials N] [--transport unix|tcp|all] "
                            "[--seed S]\n");
            return 2;
        }
    }
    printf("kill trials: %" PRIu64 " of each, seed %" PRIu64 "\n", trials, seed);

    uint8_t *truth = mmap(NULL, STREAM_BYTES + 1, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint8_t *stream = malloc(STREAM_BYTES);
    struct estimate *estimates = calloc(UNIX_ROWS, sizeof *estimates);
    must(truth != MAP_FAILED && stream != NULL && estimates != NULL, "memory");
    for (uint64_t i = 0; i < STREAM_BYTES; i++) {
        stream[i] = (uint8_t)(1 + i % 251);
    }
    struct trial trial = {.seed = seed, .truth = truth, .stream = stream, .estimates = estimates};
    pin(0);

    bool good = true;
    if (strcmp(transport, "tcp") != 0) {
        good = run_unix(&trial, trials) && good;
    }
    if (strcmp(transport, "unix") != 0) {
        good = run_tcp(&trial, trials) && good;
    }
    printf("\n%s\n", good ? "every claim was true, every control was caught" : "FAILED");
    free(stream);
    free(estimates);
    return good ? 0 : 1;
}
