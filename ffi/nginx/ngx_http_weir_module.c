// The nginx module ngx_http_weir_module: its directives, and the logging of a request.
//
//     weir_log ENDPOINT [format] [if=condition] [option=value ...];   as access_log
//     weir_log off;
//     weir_drain time;                                                at the end
//     weir_status;                                                    Prometheus text
//
// A request costs its variables' evaluation, a pass to measure them, and one to write them where
// they will be sent from: nothing is allocated, nothing copied twice, no system call is made.
#include "ffi/nginx/ngx_http_weir.h"

// What is not delivered by then is told. It must be less than what a worker is given before
// SIGKILL, which tells nothing: 3.1 seconds after `nginx -s stop`, 5 by Debian's service.
#define DRAIN_DEFAULT_MS 3000

// ---- Logging ----

// What a full buffer costs the library reports; the rest is told here, once a second at most.
static void line_refused(ngx_http_request_t *r, ngx_http_weir_pool_t *pool, const char *why)
{
    pool->refused++;
    if (pool->told == ngx_time()) {
        return;
    }
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "weir: %ui log line(s) not taken by \"%V\": %s", pool->refused, &pool->key, why);
    pool->told = ngx_time();
    pool->refused = 0;
}

static void request_log(ngx_http_request_t *r, ngx_http_weir_log_t *log, struct weir_pool *pool)
{
    // Requests of a connection stay in order; connections are spread over the pool's writers.
    struct weir_log_options options = {.key = r->connection->number,
                                       .severity = WEIR_SEVERITY_DEFAULT};
    struct weir_slot slot;
    ngx_http_weir_shared_soon(ngx_http_get_module_main_conf(r, ngx_http_weir_module));
    size_t bytes = ngx_http_weir_format_measure(r, log->format);
    if (log->priority.len > 0) {
        bytes += log->priority.len + ngx_cached_syslog_time.len + log->sender.len;
    }
    int error = weir_reserve(pool, &options, bytes, &slot);
    if (error < 0) {
        if (error != WEIR_EFULL) {
            line_refused(r, log->pool, weir_error_text(error));
        }
        return;
    }
    u_char *at = slot.bytes;
    if (log->priority.len > 0) {
        at = ngx_cpymem(at, log->priority.data, log->priority.len);
        at = ngx_cpymem(at, ngx_cached_syslog_time.data, ngx_cached_syslog_time.len);
        at = ngx_cpymem(at, log->sender.data, log->sender.len);
    }
    at = ngx_http_weir_format_write(r, log->format, at, slot.bytes + bytes);
    if (at == NULL) {
        weir_abandon(pool, &slot);
        line_refused(r, log->pool, "a variable has grown while it was being logged");
        return;
    }
    error = weir_commit(pool, &slot, (size_t)(at - slot.bytes));
    if (error < 0) {
        line_refused(r, log->pool, weir_error_text(error));
    }
}

static ngx_int_t log_handler(ngx_http_request_t *r)
{
    ngx_http_weir_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_weir_module);
    if (conf->off || conf->logs == NULL) {
        return NGX_OK;
    }
    ngx_http_weir_log_t *logs = conf->logs->elts;
    for (ngx_uint_t i = 0; i < conf->logs->nelts; i++) {
        if (logs[i].filter != NULL) {
            ngx_str_t value;
            if (ngx_http_complex_value(r, logs[i].filter, &value) != NGX_OK) {
                return NGX_ERROR;
            }
            if (value.len == 0 || (value.len == 1 && value.data[0] == '0')) {
                continue;
            }
        }
        if (logs[i].pool->pool != NULL) {
            request_log(r, &logs[i], logs[i].pool->pool);
        }
    }
    return NGX_OK;
}

// ---- Configuration ----

static void *main_conf_create(ngx_conf_t *cf)
{
    ngx_http_weir_main_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL ||
        ngx_array_init(&conf->formats, cf->pool, 4, sizeof(ngx_http_weir_format_t *)) != NGX_OK ||
        ngx_array_init(&conf->pools, cf->pool, 4, sizeof(ngx_http_weir_pool_t *)) != NGX_OK) {
        return NULL;
    }
    conf->drain = NGX_CONF_UNSET_MSEC;
    return conf;
}

static char *main_conf_init(ngx_conf_t *cf, void *data)
{
    ngx_http_weir_main_conf_t *conf = data;
    ngx_conf_init_msec_value(conf->drain, DRAIN_DEFAULT_MS);
    return NGX_CONF_OK;
}

static void *location_create(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_weir_loc_conf_t));
}

// As access_log: a level that has any of its own, or `off`, inherits nothing.
static char *location_merge(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_weir_loc_conf_t *outer = parent;
    ngx_http_weir_loc_conf_t *inner = child;
    if (inner->logs == NULL && !inner->off) {
        *inner = *outer;
    }
    return NGX_CONF_OK;
}

static ngx_int_t handlers_register(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *handler = ngx_array_push(&core->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (handler == NULL) {
        return NGX_ERROR;
    }
    *handler = log_handler;
    return NGX_OK;
}

static ngx_command_t directives[] = {
    {ngx_string("weir_log"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF |
         NGX_HTTP_LMT_CONF | NGX_CONF_1MORE,
     ngx_http_weir_log_directive, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("weir_drain"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_weir_main_conf_t, drain), NULL},
    {ngx_string("weir_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, ngx_http_weir_status_directive,
     0, 0, NULL},
    {ngx_string("log_format"), NGX_HTTP_MAIN_CONF | NGX_CONF_2MORE, ngx_http_weir_log_format,
     NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},
    ngx_null_command};

static ngx_http_module_t module_context = {NULL,              // preconfiguration
                                           handlers_register, // postconfiguration
                                           main_conf_create,
                                           main_conf_init,
                                           NULL, // servers have nothing of their own
                                           NULL,
                                           location_create,
                                           location_merge};

ngx_module_t ngx_http_weir_module = {NGX_MODULE_V1,
                                     &module_context,
                                     directives,
                                     NGX_HTTP_MODULE,
                                     NULL,                        // init master
                                     ngx_http_weir_shared_create, // init module
                                     ngx_http_weir_process_init,
                                     NULL, // init thread
                                     NULL, // exit thread
                                     ngx_http_weir_process_exit,
                                     NULL, // exit master
                                     NGX_MODULE_V1_PADDING};
