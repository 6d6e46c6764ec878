// A worker's side: opens pools after the fork, tells the error log what they report, drains them.
//
// The master never opens one: threads do not survive a fork, and each worker has connections of
// its own. A worker has one runtime of one thread for all of its pools. That thread inherits the
// worker's affinity, has all signals blocked, and never touches nginx: what the library reports it
// puts into `reports`, and writes to an eventfd that the worker's event loop watches, so that
// ngx_log_error is called by nginx's own thread alone.
#include "ffi/nginx/ngx_http_weir.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#define REPORTS_MAX 32
// The library's longest, and more is cut.
#define REPORT_BYTES_MAX 1024

// This process's. A forked child starts with what its parent had: the master has nothing.
static struct {
    struct weir_runtime *runtime;
    ngx_http_weir_main_conf_t *conf;
    ngx_connection_t *connection; // of the eventfd; NULL: reports wait for the end
    char procid[NGX_INT64_LEN + 1];
} worker;

// Lines on their way from the library's thread to nginx's.
static struct {
    pthread_mutex_t lock;
    ngx_uint_t count;
    ngx_uint_t lost; // found no room
    int eventfd;
    char lines[REPORTS_MAX][REPORT_BYTES_MAX];
} reports = {.lock = PTHREAD_MUTEX_INITIALIZER, .eventfd = -1};

// ---- Reports ----

// Called by the library's thread.
static void reports_put(void *context, const char *line)
{
    (void)context; // lines name the endpoint
    pthread_mutex_lock(&reports.lock);
    if (reports.count < REPORTS_MAX) {
        (void)ngx_cpystrn((u_char *)reports.lines[reports.count], (u_char *)line, REPORT_BYTES_MAX);
        reports.count++;
    } else {
        reports.lost++;
    }
    int eventfd = reports.eventfd;
    pthread_mutex_unlock(&reports.lock);
    if (eventfd >= 0) {
        uint64_t one = 1;
        (void)!write(eventfd, &one, sizeof(one)); // full: then it is readable as well
    }
}

static void reports_tell(ngx_log_t *log)
{
    pthread_mutex_lock(&reports.lock);
    for (ngx_uint_t i = 0; i < reports.count; i++) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "weir: %s", reports.lines[i]);
    }
    if (reports.lost > 0) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "weir: ... and %ui more lines", reports.lost);
    }
    reports.count = 0;
    reports.lost = 0;
    pthread_mutex_unlock(&reports.lock);
}

static void reports_event(ngx_event_t *event)
{
    ngx_connection_t *connection = event->data;
    uint64_t count;
    (void)!read(connection->fd, &count, sizeof(count));
    reports_tell(ngx_cycle->log);
    ngx_http_weir_shared_publish(worker.conf);
    if (ngx_handle_read_event(event, 0) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0, "weir: its reports are heard no more");
    }
}

static ngx_int_t reports_listen(ngx_cycle_t *cycle)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno, "weir: eventfd() failed");
        return NGX_ERROR;
    }
    ngx_connection_t *connection = ngx_get_connection(fd, cycle->log);
    if (connection == NULL) {
        (void)close(fd);
        return NGX_ERROR;
    }
    connection->read->handler = reports_event;
    connection->read->log = cycle->log;
    connection->write->log = cycle->log;
    // As the channel to the master: no client's, and no reason to put off a graceful end.
    connection->read->channel = 1;
    connection->write->channel = 1;
    if (ngx_handle_read_event(connection->read, 0) != NGX_OK) {
        ngx_close_connection(connection);
        return NGX_ERROR;
    }
    worker.connection = connection;
    pthread_mutex_lock(&reports.lock);
    reports.eventfd = fd;
    pthread_mutex_unlock(&reports.lock);
    return NGX_OK;
}

static void reports_close(ngx_log_t *log)
{
    pthread_mutex_lock(&reports.lock);
    reports.eventfd = -1;
    pthread_mutex_unlock(&reports.lock);
    if (worker.connection != NULL) {
        ngx_close_connection(worker.connection);
        worker.connection = NULL;
    }
    reports_tell(log);
}

// ---- Opening ----

// A server that cannot log goes on serving, and says so: there is no access_log that ends it,
// either.
static void pool_open(ngx_http_weir_pool_t *pool, ngx_log_t *log)
{
    char why[512] = "";
    struct weir_runtime_options threads = {.workers = 1, .os = NULL};
    struct weir_pool_options options = pool->options;
    options.log = reports_put;
    options.log_context = NULL;
    if (!pool->procid_given) {
        options.procid = worker.procid;
    }
    int error = worker.runtime != NULL ? 0 : weir_runtime_create(&worker.runtime, &threads);
    if (error == 0) {
        error = weir_pool_open(&pool->pool, worker.runtime, &options, why, sizeof(why));
    }
    if (error < 0) {
        pool->pool = NULL;
        ngx_log_error(NGX_LOG_ALERT, log, error > -4096 ? -error : 0,
                      "weir: \"%V\" cannot be opened, and nothing is logged to it: %s", &pool->key,
                      *why == '\0' ? weir_error_text(error) : why);
    }
}

// The cache manager and loader are initialised like workers, and serve nobody.
static ngx_uint_t process_serves(void)
{
    return ngx_process == NGX_PROCESS_WORKER || ngx_process == NGX_PROCESS_SINGLE;
}

ngx_int_t ngx_http_weir_process_init(ngx_cycle_t *cycle)
{
    ngx_http_weir_main_conf_t *conf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_weir_module);
    if (conf == NULL || conf->pools.nelts == 0 || !process_serves()) {
        return NGX_OK;
    }
    worker.conf = conf;
    *ngx_sprintf((u_char *)worker.procid, "%P", ngx_pid) = '\0';
    if (reports_listen(cycle) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "weir: its reports will be told at the end");
    }
    ngx_http_weir_pool_t **pools = conf->pools.elts;
    for (ngx_uint_t i = 0; i < conf->pools.nelts; i++) {
        pool_open(pools[i], cycle->log);
    }
    ngx_http_weir_shared_publish(conf);
    return NGX_OK;
}

// ---- Draining ----

typedef struct {
    ngx_http_weir_pool_t *pool;
    ngx_msec_t drain;
    int result;
    ngx_uint_t threaded;
    pthread_t thread;
} closing_t;

static void *closing_run(void *data)
{
    closing_t *closing = data;
    closing->result = weir_pool_close(closing->pool->pool, closing->drain);
    return NULL;
}

static void closing_tell(closing_t *closing, ngx_log_t *log)
{
    struct weir_metrics metrics;
    weir_pool_stats(closing->pool->pool, &metrics);
    if (closing->result == WEIR_ETIMEOUT) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "weir: %uL log lines for \"%V\" were not delivered within weir_drain, %M ms",
                      metrics.dropped_messages[WEIR_DROPPED_DEADLINE], &closing->pool->key,
                      closing->drain);
    } else if (closing->result != 0) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0, "weir: \"%V\": %s", &closing->pool->key,
                      weir_error_text(closing->result));
    }
}

// All at once, each on a thread of its own: one that stands still must not take the others' time.
static void pools_close(ngx_http_weir_main_conf_t *conf, ngx_log_t *log)
{
    ngx_http_weir_pool_t **pools = conf->pools.elts;
    closing_t *closings = ngx_calloc(conf->pools.nelts * sizeof(closing_t), log);
    ngx_uint_t count = 0;
    if (closings == NULL) {
        return;
    }
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (ngx_uint_t i = 0; i < conf->pools.nelts; i++) {
        if (pools[i]->pool == NULL) {
            continue;
        }
        closing_t *closing = &closings[count++];
        *closing = (closing_t){.pool = pools[i], .drain = conf->drain};
        closing->threaded = pthread_create(&closing->thread, NULL, closing_run, closing) == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (ngx_uint_t i = 0; i < count; i++) {
        if (closings[i].threaded) {
            (void)pthread_join(closings[i].thread, NULL);
        } else {
            (void)closing_run(&closings[i]);
        }
        ngx_time_update(); // for the time in the error log
        closing_tell(&closings[i], log);
        weir_pool_destroy(closings[i].pool->pool);
        closings[i].pool->pool = NULL;
    }
    ngx_free(closings);
}

void ngx_http_weir_process_exit(ngx_cycle_t *cycle)
{
    ngx_http_weir_main_conf_t *conf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_weir_module);
    if (conf == NULL || conf->pools.nelts == 0 || !process_serves()) {
        return;
    }
    ngx_http_weir_shared_stop();
    pools_close(conf, cycle->log);
    reports_close(cycle->log);
    if (worker.runtime != NULL) {
        weir_runtime_destroy(worker.runtime);
        worker.runtime = NULL;
    }
}
