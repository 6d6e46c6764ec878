// The weir_status handler: Prometheus text of all workers' pools.
//
// The library writes one pool's text; here each sample gets the labels worker, pid and pool, and
// the samples of one family, of all workers and pools, are put together, as the format demands.
#include "ffi/nginx/ngx_http_weir.h"

// A pool's labels, quoted, and its text, of which `at` is what is left.
typedef struct {
    ngx_str_t labels;
    char *at;
} source_t;

// What a sample gets: `worker="0",pid="123",pool="..."`.
static ngx_int_t labels_make(ngx_http_request_t *r, ngx_uint_t index, ngx_pid_t pid, ngx_str_t *key,
                             ngx_str_t *labels)
{
    labels->data = ngx_pnalloc(r->pool, sizeof("worker=\"\",pid=\"\",pool=\"\"") +
                                            2 * NGX_INT64_LEN + 2 * key->len);
    if (labels->data == NULL) {
        return NGX_ERROR;
    }
    u_char *end = ngx_sprintf(labels->data, "worker=\"%ui\",pid=\"%P\",pool=\"", index, pid);
    for (size_t i = 0; i < key->len; i++) {
        if (key->data[i] == '"' || key->data[i] == '\\') {
            *end++ = '\\';
        }
        *end++ = key->data[i];
    }
    *end++ = '"';
    labels->len = (size_t)(end - labels->data);
    return NGX_OK;
}

static ngx_int_t source_make(ngx_http_request_t *r, const struct weir_metrics *metrics,
                             source_t *source)
{
    size_t bytes = weir_metrics_text(metrics, NULL, 0) + 1;
    source->at = ngx_palloc(r->pool, bytes);
    if (source->at == NULL) {
        return NGX_ERROR;
    }
    (void)weir_metrics_text(metrics, source->at, bytes);
    return NGX_OK;
}

// One for each pool of each worker that has published something.
static ngx_int_t sources_make(ngx_http_request_t *r, ngx_http_weir_main_conf_t *conf,
                              source_t *sources, ngx_uint_t *count)
{
    ngx_http_weir_pool_t **pools = conf->pools.elts;
    for (ngx_uint_t index = 0; index < conf->workers; index++) {
        for (ngx_uint_t i = 0; i < conf->pools.nelts; i++) {
            struct weir_metrics metrics;
            ngx_pid_t pid = ngx_http_weir_shared_read(conf, index, i, &metrics);
            if (pid == 0) {
                continue;
            }
            source_t *source = &sources[(*count)++];
            if (source_make(r, &metrics, source) != NGX_OK ||
                labels_make(r, index, pid, &pools[i]->key, &source->labels) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }
    return NGX_OK;
}

static char *line_end(char *at)
{
    char *end = strchr(at, '\n');
    return end == NULL ? at + strlen(at) : end + 1;
}

// "name value" or "name{a="b"} value", with more labels in front.
static u_char *sample_write(u_char *out, source_t *source)
{
    char *end = line_end(source->at);
    char *name = source->at + strcspn(source->at, "{ ");
    out = ngx_cpymem(out, source->at, (size_t)(name - source->at));
    *out++ = '{';
    out = ngx_cpymem(out, source->labels.data, source->labels.len);
    if (*name == '{') {
        *out++ = ',';
        name++;
    } else {
        *out++ = '}';
    }
    out = ngx_cpymem(out, name, (size_t)(end - name));
    source->at = end;
    return out;
}

// The texts have the same families in the same order: only their figures differ.
static u_char *families_write(u_char *out, source_t *sources, ngx_uint_t count)
{
    while (*sources[0].at != '\0') {
        if (*sources[0].at == '#') { // HELP and TYPE, once
            char *end = line_end(sources[0].at);
            out = ngx_cpymem(out, sources[0].at, (size_t)(end - sources[0].at));
            for (ngx_uint_t i = 0; i < count; i++) {
                sources[i].at = line_end(sources[i].at);
            }
            continue;
        }
        for (ngx_uint_t i = 0; i < count; i++) {
            while (*sources[i].at != '\0' && *sources[i].at != '#') {
                out = sample_write(out, &sources[i]);
            }
        }
    }
    return out;
}

// How much the text can grow by its labels.
static size_t source_bytes_max(source_t *source)
{
    size_t bytes = strlen(source->at);
    for (char *at = source->at; *at != '\0'; at = line_end(at)) {
        bytes += source->labels.len + 2;
    }
    return bytes;
}

static ngx_int_t status_send(ngx_http_request_t *r, u_char *text, u_char *end)
{
    ngx_buf_t *buffer = ngx_calloc_buf(r->pool);
    if (buffer == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    buffer->pos = buffer->start = text;
    buffer->last = buffer->end = end;
    buffer->memory = end > text;
    buffer->last_buf = r == r->main;
    buffer->last_in_chain = 1;
    ngx_str_set(&r->headers_out.content_type, "text/plain; version=0.0.4");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = end - text;
    ngx_int_t result = ngx_http_send_header(r);
    if (result == NGX_ERROR || result > NGX_OK || r->header_only) {
        return result;
    }
    ngx_chain_t chain = {.buf = buffer, .next = NULL};
    return ngx_http_output_filter(r, &chain);
}

static ngx_int_t status_handler(ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }
    ngx_int_t result = ngx_http_discard_request_body(r);
    if (result != NGX_OK) {
        return result;
    }
    ngx_http_weir_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_weir_module);
    ngx_http_weir_shared_publish(conf);
    source_t *sources =
        ngx_palloc(r->pool, (conf->workers * conf->pools.nelts + 1) * sizeof(source_t));
    ngx_uint_t count = 0;
    if (sources == NULL || sources_make(r, conf, sources, &count) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    size_t bytes = 1;
    for (ngx_uint_t i = 0; i < count; i++) {
        bytes += source_bytes_max(&sources[i]);
    }
    u_char *text = ngx_palloc(r->pool, bytes);
    if (text == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return status_send(r, text, count == 0 ? text : families_write(text, sources, count));
}

char *ngx_http_weir_status_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t *location =
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    location->handler = status_handler;
    return NGX_CONF_OK;
}
