// The demonstration's collectors, and the supervisor that starts and kills them.
//
// A collector serves one connection at a time, in the order they came. It receives at the end of
// the record in mapped memory and only then moves the counter on; as it can be killed in between,
// its successor finds the end by looking for the first zero byte.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/command_demo.h"

// Slower than it could be, so that there is something on its way when it is killed.
#define RECEIVE_BYTES ((size_t)16 << 10)
#define RECEIVE_PAUSE_NS (2 * WEIR_NS_PER_MS)
#define FINISH_MS 2000
#define PENDING_MAX 8
#define START 'S' // the other commands are signal numbers

size_t weir_demo_record_end(const struct weir_demo_collector *collector)
{
    size_t known = atomic_load_explicit(&collector->shared->recorded, memory_order_relaxed);
    const unsigned char *from = collector->record + known;
    const unsigned char *zero = memchr(from, 0, collector->record_bytes - known);
    return zero == NULL ? collector->record_bytes : (size_t)(zero - collector->record);
}

// ---- A collector ----

static int listener_open(const struct weir_demo_collector *collector)
{
    struct sockaddr_un unix_name = {.sun_family = AF_UNIX};
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(collector->port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(collector->tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int code;
    if (collector->tcp) {
        int on = 1;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        code = bind(fd, (const struct sockaddr *)&name, sizeof(name));
    } else {
        memcpy(unix_name.sun_path, collector->path, sizeof(collector->path));
        (void)unlink(collector->path); // left behind by one that was killed
        code = bind(fd, (const struct sockaddr *)&unix_name, sizeof(unix_name));
    }
    return code == 0 && listen(fd, PENDING_MAX) == 0 ? fd : -errno;
}

// Receives once, at the end of the record. returns the bytes, 0 at the end or without room, -errno.
static ssize_t receive(const struct weir_demo_collector *collector, int fd, int flags)
{
    struct weir_demo_shared *shared = collector->shared;
    size_t end = atomic_load_explicit(&shared->recorded, memory_order_relaxed);
    size_t room = collector->record_bytes - end;
    if (room == 0) {
        atomic_store_explicit(&shared->full, 1, memory_order_relaxed);
        return 0;
    }
    ssize_t count =
        recv(fd, collector->record + end, room < RECEIVE_BYTES ? room : RECEIVE_BYTES, flags);
    if (count > 0) {
        atomic_store_explicit(&shared->recorded, end + (size_t)count, memory_order_relaxed);
    }
    if (count < 0 && errno == EFAULT) { // the file system has no block left
        atomic_store_explicit(&shared->full, 1, memory_order_relaxed);
    }
    return count < 0 ? -errno : count;
}

static void connection_note(const struct weir_demo_collector *collector)
{
    struct weir_demo_shared *shared = collector->shared;
    uint32_t index = atomic_load_explicit(&shared->connections, memory_order_relaxed);
    if (index < WEIR_DEMO_CONNECTIONS_MAX) {
        shared->begins[index] = atomic_load_explicit(&shared->recorded, memory_order_relaxed);
        atomic_store_explicit(&shared->connections, index + 1, memory_order_relaxed);
    } else {
        atomic_store_explicit(&shared->full, 1, memory_order_relaxed);
    }
}

// Asked to end in peace: no new connections, and those there are to their end. A Unix socket
// refuses more but gives what it holds; TCP's sender notices that we close, and does so too.
static _Noreturn void collector_end(const struct weir_demo_collector *collector, int listener,
                                    int current)
{
    int pending[PENDING_MAX + 1];
    int count = 0;
    struct pollfd more = {.fd = listener, .events = POLLIN};
    if (current >= 0) {
        pending[count++] = current;
    }
    while (count <= PENDING_MAX && poll(&more, 1, 0) == 1) {
        pending[count] = accept(listener, NULL, NULL);
        count += pending[count] >= 0 ? 1 : 0;
    }
    (void)close(listener);
    uint64_t until = weir_command_now_ns() + FINISH_MS * WEIR_NS_PER_MS;
    for (int i = 0; i < count; i++) {
        (void)shutdown(pending[i], collector->tcp ? SHUT_WR : SHUT_RDWR);
        if (pending[i] != current) {
            connection_note(collector);
        }
        struct pollfd look = {.fd = pending[i], .events = POLLIN};
        while (weir_command_now_ns() < until && poll(&look, 1, FINISH_MS) == 1 &&
               receive(collector, pending[i], MSG_DONTWAIT) > 0) {
        }
    }
    _exit(0);
}

// Waits for a descriptor or for SIGTERM, which ends the process.
static void await(const struct weir_demo_collector *collector, int listener, int current,
                  int signals)
{
    struct pollfd look[2] = {{.fd = current >= 0 ? current : listener, .events = POLLIN},
                             {.fd = signals, .events = POLLIN}};
    while (poll(look, 2, -1) < 0) {
        if (errno != EINTR) {
            _exit(1);
        }
    }
    if (look[1].revents != 0) {
        collector_end(collector, listener, current);
    }
}

static _Noreturn void collector_main(struct weir_demo_collector *collector, pid_t supervisor)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) {
        _exit(1); // it died before it could take us with it
    }
    sigset_t terminate;
    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM); // blocked since before the supervisor was forked
    int signals = signalfd(-1, &terminate, SFD_CLOEXEC);
    int listener = listener_open(collector);
    if (signals < 0 || listener < 0) {
        weir_command_say("demo", "collector: %s", strerror(listener < 0 ? -listener : errno));
        _exit(1);
    }
    struct weir_demo_shared *shared = collector->shared;
    atomic_store_explicit(&shared->recorded, weir_demo_record_end(collector), memory_order_relaxed);
    atomic_store_explicit(&shared->listening, collector->life, memory_order_relaxed);
    for (;;) {
        await(collector, listener, -1, signals);
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            continue;
        }
        connection_note(collector);
        ssize_t count;
        do {
            await(collector, listener, fd, signals);
            count = receive(collector, fd, 0);
            struct timespec pause = {.tv_nsec = (long)RECEIVE_PAUSE_NS};
            (void)nanosleep(&pause, NULL);
        } while (count > 0);
        (void)close(fd);
    }
}

// ---- The supervisor ----

struct order {
    int32_t what; // START, or a signal for the collector
    uint32_t life;
};

static int order_obey(struct weir_demo_collector *collector, const struct order *order,
                      pid_t *child)
{
    if (order->what == START) {
        pid_t supervisor = getpid();
        collector->life = order->life;
        *child = fork();
        if (*child == 0) {
            (void)close(collector->control_fd);
            collector_main(collector, supervisor);
        }
        return *child < 0 ? -errno : (int)*child;
    }
    if (*child <= 0) {
        return -ESRCH;
    }
    int code = kill(*child, order->what) == 0 ? 0 : -errno;
    int status;
    if (order->what == SIGKILL || order->what == SIGTERM) {
        (void)waitpid(*child, &status, 0);
        *child = 0;
    } else if (order->what == SIGSTOP) {
        (void)waitpid(*child, &status, WUNTRACED);
    }
    return code;
}

static _Noreturn void supervisor_main(struct weir_demo_collector *collector, pid_t host)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != host) {
        _exit(1);
    }
    struct order order;
    pid_t child = 0;
    // Ends when the host closes its end. A collector that is left dies with us.
    while (recv(collector->control_fd, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
        int32_t answer = order_obey(collector, &order, &child);
        (void)send(collector->control_fd, &answer, sizeof(answer), MSG_NOSIGNAL);
    }
    if (child > 0) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
    }
    _exit(0);
}

int weir_demo_supervisor_start(struct weir_demo_collector *collector)
{
    int ends[2];
    pid_t host = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return -errno;
    }
    collector->supervisor = fork();
    if (collector->supervisor == 0) {
        (void)close(ends[0]);
        collector->control_fd = ends[1];
        supervisor_main(collector, host);
    }
    int code = collector->supervisor < 0 ? -errno : 0;
    (void)close(ends[1]);
    collector->control_fd = ends[0];
    return code;
}

static int order_give(struct weir_demo_collector *collector, int32_t what)
{
    struct order order = {.what = what, .life = collector->life};
    int32_t answer = -EPIPE;
    if (send(collector->control_fd, &order, sizeof(order), MSG_NOSIGNAL) !=
            (ssize_t)sizeof(order) ||
        recv(collector->control_fd, &answer, sizeof(answer), 0) != (ssize_t)sizeof(answer)) {
        return -EPIPE;
    }
    return answer;
}

pid_t weir_demo_collector_start(struct weir_demo_collector *collector)
{
    collector->life++;
    return order_give(collector, START);
}

int weir_demo_collector_signal(struct weir_demo_collector *collector, int number)
{
    weir_assert(number != START);
    return order_give(collector, number);
}

void weir_demo_supervisor_stop(struct weir_demo_collector *collector)
{
    if (collector->supervisor > 0) {
        (void)close(collector->control_fd);
        (void)waitpid(collector->supervisor, NULL, 0);
        collector->supervisor = 0;
    }
}
