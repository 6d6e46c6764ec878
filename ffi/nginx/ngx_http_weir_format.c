// Log formats: the text of each log_format, compiled into pieces that are measured and written.
//
// The log module's compiled formats are out of reach: their types are private to its file, and
// their functions have changed parameters between versions of nginx, which a module built from a
// copied declaration would learn by crashing. What is public, and stays, is the directive. So this
// module has a directive log_format too, and stands before the log module (ngx_module_order in
// `config`), so that nginx asks it first: it keeps the arguments and passes the call on to the log
// module's own handler, whose checks and words users know. What a format means is compiled here a
// second time, from nginx's documentation of log_format, with public calls.
#include "ffi/nginx/ngx_http_weir_piece.h"

struct ngx_http_weir_format_s {
    ngx_str_t name;
    ngx_array_t source;  // ngx_str_t: the directive's arguments after the name
    ngx_array_t *pieces; // NULL: not compiled, nobody asked for it
    ngx_array_t *flushes;
};

extern ngx_module_t ngx_http_log_module;

// ---- Compiling ----

static ngx_int_t compile_literal(ngx_http_weir_format_t *format, u_char *bytes, size_t count)
{
    ngx_http_weir_piece_t *piece = ngx_array_push(format->pieces);
    if (piece == NULL) {
        return NGX_ERROR;
    }
    ngx_http_weir_piece_literal(piece, bytes, count);
    return NGX_OK;
}

static ngx_int_t compile_variable(ngx_conf_t *cf, ngx_http_weir_format_t *format, ngx_str_t *name,
                                  const ngx_http_weir_escaping_t *escaping)
{
    ngx_http_weir_piece_t *piece = ngx_array_push(format->pieces);
    if (piece == NULL) {
        return NGX_ERROR;
    }
    if (ngx_http_weir_piece_direct(piece, name) == NGX_OK) {
        return NGX_OK;
    }
    ngx_int_t index = ngx_http_get_variable_index(cf, name);
    ngx_int_t *flush = ngx_array_push(format->flushes);
    if (index == NGX_ERROR || flush == NULL) {
        return NGX_ERROR;
    }
    ngx_http_weir_piece_variable(piece, index, escaping);
    *flush = index;
    return NGX_OK;
}

static ngx_uint_t name_byte(u_char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_';
}

// One argument of the directive: text with $name and ${name}. The log module has accepted it
// before, so that nothing here is an error of the user's.
static ngx_int_t compile_text(ngx_conf_t *cf, ngx_http_weir_format_t *format, ngx_str_t *text,
                              const ngx_http_weir_escaping_t *escaping)
{
    u_char *at = text->data;
    u_char *end = text->data + text->len;
    while (at < end) {
        u_char *begin = at;
        while (at < end && *at != '$') {
            at++;
        }
        if (at > begin && compile_literal(format, begin, (size_t)(at - begin)) != NGX_OK) {
            return NGX_ERROR;
        }
        if (at == end) {
            break;
        }
        at++;
        ngx_uint_t braced = at < end && *at == '{';
        at += braced;
        ngx_str_t name = {0, at};
        while (at < end && name_byte(*at)) {
            at++;
        }
        name.len = (size_t)(at - name.data);
        if (name.len == 0 || (braced && (at == end || *at != '}'))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid variable in log format \"%V\"",
                               &format->name);
            return NGX_ERROR;
        }
        at += braced;
        if (compile_variable(cf, format, &name, escaping) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

static ngx_int_t format_compile(ngx_conf_t *cf, ngx_http_weir_format_t *format)
{
    format->pieces = ngx_array_create(cf->pool, 16, sizeof(ngx_http_weir_piece_t));
    format->flushes = ngx_array_create(cf->pool, 8, sizeof(ngx_int_t));
    if (format->pieces == NULL || format->flushes == NULL) {
        return NGX_ERROR;
    }
    const ngx_http_weir_escaping_t *escaping = ngx_http_weir_escaping(NULL);
    ngx_str_t *source = format->source.elts;
    for (ngx_uint_t i = 0; i < format->source.nelts; i++) {
        if (i == 0 && ngx_strncmp(source[i].data, "escape=", 7) == 0) {
            escaping = ngx_http_weir_escaping(&source[i]);
            continue;
        }
        if (compile_text(cf, format, &source[i], escaping) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

// ---- Names ----

static ngx_http_weir_format_t *format_add(ngx_conf_t *cf, ngx_array_t *formats, ngx_str_t *name,
                                          ngx_str_t *source, ngx_uint_t source_count)
{
    ngx_http_weir_format_t *format = ngx_pcalloc(cf->pool, sizeof(*format));
    ngx_http_weir_format_t **place = ngx_array_push(formats);
    if (format == NULL || place == NULL ||
        ngx_array_init(&format->source, cf->pool, ngx_max(source_count, 1), sizeof(ngx_str_t)) !=
            NGX_OK) {
        return NULL;
    }
    format->name = *name;
    for (ngx_uint_t i = 0; i < source_count; i++) {
        *(ngx_str_t *)ngx_array_push(&format->source) = source[i]; // there is room
    }
    *place = format;
    return format;
}

char *ngx_http_weir_log_format(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_weir_main_conf_t *own = conf;
    ngx_str_t *value = cf->args->elts;
    if (format_add(cf, &own->formats, &value[1], &value[2], cf->args->nelts - 2) == NULL) {
        return NGX_CONF_ERROR;
    }
    ngx_command_t *original = ngx_http_log_module.commands;
    while (original->name.len > 0 && ngx_strcmp(original->name.data, cmd->name.data) != 0) {
        original++;
    }
    if (original->name.len == 0) {
        return "is unknown to this nginx";
    }
    ngx_http_conf_ctx_t *context = cf->ctx;
    return original->set(cf, original, context->main_conf[ngx_http_log_module.ctx_index]);
}

ngx_http_weir_format_t *ngx_http_weir_format_find(ngx_conf_t *cf, ngx_str_t *name)
{
    static ngx_str_t combined_name = ngx_string("combined");
    static ngx_str_t combined = ngx_string("$remote_addr - $remote_user [$time_local] "
                                           "\"$request\" $status $body_bytes_sent "
                                           "\"$http_referer\" \"$http_user_agent\"");
    ngx_http_weir_main_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_weir_module);
    ngx_http_weir_format_t **formats = conf->formats.elts;
    ngx_http_weir_format_t *format = NULL;
    for (ngx_uint_t i = 0; i < conf->formats.nelts; i++) {
        if (formats[i]->name.len == name->len &&
            ngx_strncmp(formats[i]->name.data, name->data, name->len) == 0) {
            format = formats[i];
        }
    }
    if (format == NULL && ngx_strcmp(name->data, combined_name.data) == 0) {
        format = format_add(cf, &conf->formats, &combined_name, &combined, 1);
    } else if (format == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "unknown log format \"%V\"", name);
    }
    if (format == NULL || (format->pieces == NULL && format_compile(cf, format) != NGX_OK)) {
        return NULL;
    }
    return format;
}

// ---- A request ----

size_t ngx_http_weir_format_measure(ngx_http_request_t *r, ngx_http_weir_format_t *format)
{
    ngx_http_script_flush_no_cacheable_variables(r, format->flushes);
    ngx_http_weir_piece_t *pieces = format->pieces->elts;
    size_t bytes = 0;
    for (ngx_uint_t i = 0; i < format->pieces->nelts; i++) {
        bytes += pieces[i].measure == NULL ? pieces[i].bytes_max : pieces[i].measure(r, &pieces[i]);
    }
    return bytes;
}

u_char *ngx_http_weir_format_write(ngx_http_request_t *r, ngx_http_weir_format_t *format,
                                   u_char *at, u_char *end)
{
    ngx_http_weir_piece_t *pieces = format->pieces->elts;
    for (ngx_uint_t i = 0; i < format->pieces->nelts && at != NULL; i++) {
        if (pieces[i].measure == NULL && (size_t)(end - at) < pieces[i].bytes_max) {
            return NULL;
        }
        at = pieces[i].write(r, &pieces[i], at, end);
    }
    return at;
}
