// `weir demo`: logs while its collector is killed and stopped, and then counts every line.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/command_demo.h"

static const char command[] = "demo";

// Beyond the planned time, for a slow machine; the whole stays below a minute.
#define LATE_MS 15000
#define CLOSE_MS 10000
#define STEP_MS 20
#define MADE_UP_LINE_BYTES 256
// What a broken connection may bring twice; address space only.
#define AGAIN_BYTES ((size_t)16 << 20)
// 128 + SIGINT, as a shell would report it.
#define EXIT_INTERRUPTED 130

// ---- Setting up and taking down ----

static int fail(const char *what, int code)
{
    weir_command_say(command, "%s: %s", what, weir_command_error_text(code));
    return WEIR_EXIT_SYSTEM;
}

static int directory_make(struct weir_demo *demo)
{
    const char *base = getenv("TMPDIR");
    if (base == NULL || base[0] == '\0' || strlen(base) > 60) {
        base = "/tmp"; // also when a socket's name would become too long
    }
    snprintf(demo->directory, sizeof(demo->directory), "%s/weir-demo-XXXXXX", base);
    if (mkdtemp(demo->directory) == NULL) {
        int code = -errno;
        char name[WEIR_DEMO_PATH_BYTES_MAX];
        memcpy(name, demo->directory, sizeof(name));
        demo->directory[0] = '\0';
        return fail(name, code);
    }
    snprintf(demo->record_path, sizeof(demo->record_path), "%s/record", demo->directory);
    snprintf(demo->collector.path, sizeof(demo->collector.path), "%.80s/socket", demo->directory);
    return 0;
}

static int memory_map(struct weir_demo *demo)
{
    struct weir_demo_collector *collector = &demo->collector;
    const struct weir_demo_lines *lines = &demo->lines;
    size_t each =
        lines->text_count == 0 ? MADE_UP_LINE_BYTES : lines->text_bytes / lines->text_count + 16;
    collector->record_bytes =
        demo->lines_count * each + lines->text_bytes + 4096 + (demo->kills + 4) * AGAIN_BYTES;
    collector->shared = mmap(NULL, sizeof(*collector->shared), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    demo->host.accepted = calloc(demo->lines_count, 1);
    if (collector->shared == MAP_FAILED || demo->host.accepted == NULL) {
        collector->shared = NULL;
        return fail("memory", -ENOMEM);
    }
    int fd = open(demo->record_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int code = fd < 0 || ftruncate(fd, (off_t)collector->record_bytes) != 0 ? -errno : 0;
    if (code == 0) {
        void *record =
            mmap(NULL, collector->record_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        code = record == MAP_FAILED ? -errno : 0;
        collector->record = code == 0 ? record : NULL;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return code == 0 ? 0 : fail(demo->record_path, code);
}

// A port that stays ours while no collector lives: a socket that is bound and does not listen keeps
// others from it, and keeps a connect from meeting itself there.
static int port_reserve(struct weir_demo_collector *collector)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t name_bytes = sizeof(name);
    int on = 1;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&name, sizeof(name)) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &name_bytes) != 0) {
        int code = -errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return fail("127.0.0.1", code);
    }
    collector->port = ntohs(name.sin_port);
    collector->placeholder_fd = fd;
    return 0;
}

static int pool_start(struct weir_demo *demo)
{
    char endpoint[WEIR_DEMO_PATH_BYTES_MAX + 16];
    char why[512];
    struct weir_runtime_options workers = {.workers = 1};
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    if (demo->collector.tcp) {
        snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", demo->collector.port);
    } else {
        snprintf(endpoint, sizeof(endpoint), "unix:%s", demo->collector.path);
    }
    options.endpoint = endpoint;
    options.full = WEIR_FULL_BLOCK; // only a much too slow machine gets there
    options.retry_interval_ms = 50;
    options.retry_interval_max_ms = 400;
    int code = weir_runtime_create(&demo->runtime, &workers);
    if (code != 0) {
        return fail("runtime", code);
    }
    code = weir_pool_open(&demo->host.pool, demo->runtime, &options, why, sizeof(why));
    if (code != 0) {
        weir_command_say(command, "%s", code == WEIR_EOPTION ? why : weir_command_error_text(code));
        return WEIR_EXIT_SYSTEM;
    }
    code = weir_demo_host_start(&demo->host);
    return code == 0 ? 0 : fail("threads", code);
}

static void demo_clean(struct weir_demo *demo)
{
    if (demo->host.pool != NULL) {
        (void)weir_pool_close(demo->host.pool, 0); // else a thread could be blocked in it
        weir_demo_host_stop(&demo->host);
        weir_pool_destroy(demo->host.pool);
    }
    if (demo->runtime != NULL) {
        weir_runtime_destroy(demo->runtime);
    }
    weir_demo_supervisor_stop(&demo->collector);
    if (demo->collector.placeholder_fd >= 0) {
        (void)close(demo->collector.placeholder_fd);
    }
    if (demo->directory[0] != '\0') {
        (void)unlink(demo->record_path);
        (void)unlink(demo->collector.path);
        (void)rmdir(demo->directory);
    }
    free(demo->host.accepted);
    weir_demo_lines_deinit(&demo->lines);
}

// ---- The run ----

// Waits until everything is logged. returns whether it is.
static bool host_await(struct weir_demo *demo)
{
    for (uint64_t waited = 0; weir_demo_host_running(&demo->host); waited += STEP_MS) {
        if (!weir_demo_nap(demo, STEP_MS) || waited > LATE_MS) {
            return false;
        }
    }
    return true;
}

static int demo_judge(struct weir_demo *demo)
{
    struct weir_demo_verdict verdict;
    struct weir_demo_shared *shared = demo->collector.shared;
    weir_demo_host_stop(&demo->host);
    int closed = weir_pool_close(demo->host.pool, CLOSE_MS);
    (void)weir_demo_collector_signal(&demo->collector, SIGTERM);
    weir_demo_supervisor_stop(&demo->collector);
    if (atomic_load_explicit(&shared->full, memory_order_relaxed) != 0) {
        weir_command_say(command, "%s has no room for the record: nothing can be said",
                         demo->directory);
        return WEIR_EXIT_SYSTEM;
    }
    int code =
        weir_demo_verdict_find(&verdict, &demo->collector, &demo->lines, demo->host.accepted);
    if (code != 0) {
        return fail("verdict", code);
    }
    return weir_demo_verdict_print(demo, &verdict, closed) ? WEIR_EXIT_GOOD : WEIR_EXIT_UNDELIVERED;
}

static int demo_run(struct weir_demo *demo)
{
    int status = directory_make(demo);
    if (status == 0) {
        status = memory_map(demo);
    }
    if (status == 0 && demo->collector.tcp) {
        status = port_reserve(&demo->collector);
    }
    if (status != 0) {
        return status;
    }
    (void)fflush(stdout); // else the children would have it too
    int code = weir_demo_supervisor_start(&demo->collector);
    if (code != 0) {
        return fail("fork", code);
    }
    demo->begun_ns = weir_command_now_ns();
    weir_demo_announce(demo);
    weir_demo_collector_bring(demo);
    status = pool_start(demo);
    if (status != 0) {
        return status;
    }
    weir_demo_faults_run(demo);
    bool done = demo->end == WEIR_DEMO_GOES_ON && host_await(demo);
    if (demo->end == WEIR_DEMO_INTERRUPTED) {
        weir_command_say(command, "interrupted");
        return EXIT_INTERRUPTED;
    }
    if (!done) {
        weir_command_say(command, "%s",
                         demo->end == WEIR_DEMO_FAILED
                             ? "given up"
                             : "this machine is too slow; try fewer --lines");
        return WEIR_EXIT_SYSTEM;
    }
    return demo_judge(demo);
}

static int help_print(void)
{
    puts("usage: weir demo [--OPTION VALUE]... [FILE]\n"
         "\n"
         "Logs numbered lines, like a web server's or those of FILE, over a Unix socket to a "
         "collector of\n"
         "its own, which is killed, stopped and restarted meanwhile. Then looks for every line in "
         "what the\n"
         "collectors recorded. Needs a few seconds and some tens of megabytes in TMPDIR; leaves "
         "nothing.\n"
         "\n"
         "  --lines N       how many lines (default 150000)\n"
         "  --seconds N     how long to log (default 15, at most 45)\n"
         "  --kills N       how often the collector is killed (default 5)\n"
         "  --tcp           over TCP; the collector is then ended in peace and restarted\n"
         "  --seed N        decides the lines and the moments (default: another one each time)\n"
         "\n"
         "Exit status: 0 no accepted line is lost, none is damaged or out of order, and the books "
         "balance;\n"
         "1 otherwise; 2 bad usage; 4 system error.");
    return weir_command_finish_output(command, WEIR_EXIT_GOOD);
}

static int option_take(struct weir_demo *demo, struct weir_arguments *arguments)
{
    const char *name = arguments->name;
    if (strcmp(name, "lines") == 0) {
        return weir_arguments_number(arguments, 1, 5000000, &demo->lines_count);
    }
    if (strcmp(name, "seconds") == 0) {
        return weir_arguments_number(arguments, 1, 45, &demo->seconds);
    }
    if (strcmp(name, "kills") == 0) {
        return weir_arguments_number(arguments, 0, 100, &demo->kills);
    }
    if (strcmp(name, "seed") == 0) {
        return weir_arguments_number(arguments, 0, 999999999999999999, &demo->seed);
    }
    if (strcmp(name, "tcp") == 0) {
        demo->collector.tcp = true;
        return weir_arguments_flag(arguments) ? 0 : WEIR_EXIT_USAGE;
    }
    return weir_command_refuse(command, "unknown option %s",
                               arguments->values[arguments->next - 1]);
}

// returns 0, or an exit status plus one, so that --help can end the command too.
static int arguments_take(struct weir_demo *demo, int count, char **values)
{
    struct weir_arguments arguments = {.command = command, .values = values, .count = count};
    enum weir_argument kind = weir_arguments_next(&arguments);
    for (; kind != WEIR_ARGUMENT_END; kind = weir_arguments_next(&arguments)) {
        if (kind == WEIR_ARGUMENT_OPERAND) {
            if (demo->file != NULL) {
                return weir_command_refuse(command, "one FILE at most, not also \"%s\"",
                                           arguments.operand) +
                       1;
            }
            demo->file = arguments.operand;
            continue;
        }
        if (strcmp(arguments.name, "help") == 0) {
            return help_print() + 1;
        }
        int status = option_take(demo, &arguments);
        if (status != 0) {
            return status + 1;
        }
    }
    return 0;
}

int weir_command_demo(int count, char **values)
{
    struct weir_demo demo = {.lines_count = 150000, .kills = 5, .seconds = 15};
    demo.seed = weir_command_now_ns() / WEIR_NS_PER_MS % 1000000;
    demo.collector.placeholder_fd = -1;
    int status = arguments_take(&demo, count, values);
    if (status != 0) {
        return status - 1;
    }
    const char *no_color = getenv("NO_COLOR");
    demo.terminal = isatty(STDOUT_FILENO) == 1;
    demo.color = demo.terminal && (no_color == NULL || no_color[0] == '\0');
    int code = weir_demo_lines_init(&demo.lines, demo.file, demo.seed, demo.lines_count);
    if (code != 0) {
        weir_demo_lines_deinit(&demo.lines);
        weir_command_say(command, "%s: %s", demo.file,
                         code == -ENODATA ? "has no line" : strerror(-code));
        return WEIR_EXIT_SYSTEM;
    }
    demo.host.lines = &demo.lines;
    demo.host.seconds = demo.seconds;
    // For this process, its threads and its children: who waits for signals asks for them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN); // who pipes us into head(1) leaves no files behind
    status = demo_run(&demo);
    demo_clean(&demo);
    return status == WEIR_EXIT_GOOD ? weir_command_finish_output(command, status) : status;
}
