// Log formats: the text of each log_format, compiled into pieces that are measured and written.
//
// The log module's compiled formats are out of reach: their types are private to its file, and
// their functions have changed parameters between versions of nginx, which a module built from a
// copied declaration would learn by crashing. What is public, and stays, is the directive. So this
// module has a directive log_format too, and stands before the log module (ngx_module_order in
// `config`), so that nginx asks it first: it keeps the arguments and passes the call on to the log
// module's own handler, whose checks and words users know. What a format means is compiled here a
// second time, from nginx's documentation of log_format, with public calls.
#include "ffi/nginx/ngx_http_weir.h"

typedef struct piece_s piece_t;

// Most that a piece needs for this request; evaluates its variable.
typedef size_t (*piece_measure_fn)(ngx_http_request_t *r, piece_t *piece);
// Writes it at `at`, where bytes_max, or what was measured, is known to fit unless it says NULL.
typedef u_char *(*piece_write_fn)(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end);

struct piece_s {
    size_t bytes_max;         // 0: to be measured
    piece_measure_fn measure; // NULL: bytes_max counts
    piece_write_fn write;
    ngx_str_t text;  // of a literal
    ngx_int_t index; // of a variable
};

struct ngx_http_weir_format_s {
    ngx_str_t name;
    ngx_array_t source;  // ngx_str_t: the directive's arguments after the name
    ngx_array_t *pieces; // NULL: not compiled, nobody asked for it
    ngx_array_t *flushes;
};

extern ngx_module_t ngx_http_log_module;

// ---- Literals, and what need not be asked of a variable ----

static u_char *literal_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    return ngx_cpymem(at, piece->text.data, piece->text.len);
}

static u_char *pipe_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    *at = r->pipeline ? 'p' : '.';
    return at + 1;
}

static u_char *time_local_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    return ngx_cpymem(at, ngx_cached_http_log_time.data, ngx_cached_http_log_time.len);
}

static u_char *time_iso8601_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    return ngx_cpymem(at, ngx_cached_http_log_iso8601.data, ngx_cached_http_log_iso8601.len);
}

static u_char *msec_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    ngx_time_t *now = ngx_timeofday();
    return ngx_slprintf(at, end, "%T.%03M", now->sec, now->msec);
}

static u_char *request_time_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    ngx_time_t *now = ngx_timeofday();
    ngx_msec_int_t ms = (ngx_msec_int_t)((now->sec - r->start_sec) * 1000) +
                        ((ngx_msec_int_t)now->msec - (ngx_msec_int_t)r->start_msec);
    ms = ngx_max(ms, 0); // the clock may have been set
    return ngx_slprintf(at, end, "%T.%03M", (time_t)(ms / 1000), (ngx_msec_t)(ms % 1000));
}

static u_char *status_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    ngx_uint_t status = r->err_status ? r->err_status : r->headers_out.status;
    if (status == 0 && r->http_version == NGX_HTTP_VERSION_9) {
        status = 9;
    }
    return ngx_slprintf(at, end, "%03ui", status);
}

static u_char *bytes_sent_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    return ngx_slprintf(at, end, "%O", r->connection->sent);
}

static u_char *body_bytes_sent_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    off_t bytes = r->connection->sent - (off_t)r->header_size;
    return ngx_slprintf(at, end, "%O", ngx_max(bytes, 0));
}

static u_char *request_length_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    return ngx_slprintf(at, end, "%O", r->request_length);
}

// Variables of these names exist too, but write into memory that they allocate.
static const struct {
    ngx_str_t name;
    size_t bytes_max;
    piece_write_fn write;
} direct_pieces[] = {
    {ngx_string("pipe"), 1, pipe_write},
    {ngx_string("time_local"), sizeof("28/Sep/1970:12:00:00 +0600") - 1, time_local_write},
    {ngx_string("time_iso8601"), sizeof("1970-09-28T12:00:00+06:00") - 1, time_iso8601_write},
    {ngx_string("msec"), NGX_TIME_T_LEN + 4, msec_write},
    {ngx_string("request_time"), NGX_TIME_T_LEN + 4, request_time_write},
    {ngx_string("status"), NGX_INT_T_LEN, status_write},
    {ngx_string("bytes_sent"), NGX_OFF_T_LEN, bytes_sent_write},
    {ngx_string("body_bytes_sent"), NGX_OFF_T_LEN, body_bytes_sent_write},
    {ngx_string("request_length"), NGX_OFF_T_LEN, request_length_write},
};

// ---- Variables, in the three ways of escaping ----

static ngx_http_variable_value_t *variable_get(ngx_http_request_t *r, piece_t *piece)
{
    ngx_http_variable_value_t *value = ngx_http_get_indexed_variable(r, (ngx_uint_t)piece->index);
    return value == NULL || value->not_found ? NULL : value;
}

static u_char *variable_copy(ngx_http_variable_value_t *value, u_char *at, u_char *end)
{
    return (size_t)(end - at) < value->len ? NULL : ngx_cpymem(at, value->data, value->len);
}

// escape=default: control characters, the quotation mark, the backslash and all from DEL on.
static ngx_uint_t byte_special(u_char byte)
{
    return byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\';
}

// Whether one of eight bytes is special. A byte less n has its highest bit set where it was below
// n, and takes from the byte above it only then; a byte that was made 0 is below 1. (As "Determine
// if a word has a byte less than n" of the Bit Twiddling Hacks.)
static ngx_uint_t word_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    uint64_t below = (word - ones * 0x20) | (quote - ones) | (backslash - ones);
    uint64_t delete = (word ^ ones * 0x7f) - ones;
    return ((below | delete | word) & highs) != 0;
}

// Nearly every value has none, which eight bytes at a time tell sooner.
static size_t bytes_special(const u_char *bytes, size_t count)
{
    size_t plain = 0;
    for (uint64_t word; count - plain >= sizeof(word); plain += sizeof(word)) {
        ngx_memcpy(&word, bytes + plain, sizeof(word));
        if (word_special(word)) {
            break;
        }
    }
    size_t special = 0;
    for (size_t i = plain; i < count; i++) {
        special += byte_special(bytes[i]);
    }
    return special;
}

static size_t default_measure(ngx_http_request_t *r, piece_t *piece)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    if (value == NULL) {
        return 1;
    }
    size_t special = bytes_special(value->data, value->len);
    value->escape = special > 0;
    return value->len + special * 3;
}

static u_char *default_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    static const u_char digits[] = "0123456789ABCDEF";
    ngx_http_variable_value_t *value = variable_get(r, piece);
    if (value == NULL) {
        if (at == end) {
            return NULL;
        }
        *at = '-';
        return at + 1;
    }
    if (!value->escape) {
        return variable_copy(value, at, end);
    }
    for (size_t i = 0; i < value->len; i++) {
        u_char byte = value->data[i];
        if (end - at < (byte_special(byte) ? 4 : 1)) {
            return NULL;
        }
        if (byte_special(byte)) {
            *at++ = '\\';
            *at++ = 'x';
            *at++ = digits[byte >> 4];
            *at++ = digits[byte & 15];
        } else {
            *at++ = byte;
        }
    }
    return at;
}

static size_t json_measure(ngx_http_request_t *r, piece_t *piece)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    if (value == NULL) {
        return 0;
    }
    size_t more = ngx_escape_json(NULL, value->data, value->len);
    value->escape = more > 0;
    return value->len + more;
}

static u_char *json_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    if (value == NULL) {
        return at;
    }
    if (!value->escape) {
        return variable_copy(value, at, end);
    }
    if ((size_t)(end - at) < value->len + ngx_escape_json(NULL, value->data, value->len)) {
        return NULL;
    }
    return (u_char *)ngx_escape_json(at, value->data, value->len);
}

static size_t plain_measure(ngx_http_request_t *r, piece_t *piece)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    return value == NULL ? 0 : value->len;
}

static u_char *plain_write(ngx_http_request_t *r, piece_t *piece, u_char *at, u_char *end)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    return value == NULL ? at : variable_copy(value, at, end);
}

static const struct escaping {
    ngx_str_t argument;
    piece_measure_fn measure;
    piece_write_fn write;
} escapings[] = {
    {ngx_string("escape=default"), default_measure, default_write},
    {ngx_string("escape=json"), json_measure, json_write},
    {ngx_string("escape=none"), plain_measure, plain_write},
};

// ---- Compiling ----

static ngx_int_t compile_literal(ngx_http_weir_format_t *format, u_char *bytes, size_t count)
{
    piece_t *piece = ngx_array_push(format->pieces);
    if (piece == NULL) {
        return NGX_ERROR;
    }
    ngx_memzero(piece, sizeof(*piece));
    piece->bytes_max = count;
    piece->write = literal_write;
    piece->text.len = count;
    piece->text.data = bytes;
    return NGX_OK;
}

static ngx_int_t compile_variable(ngx_conf_t *cf, ngx_http_weir_format_t *format, ngx_str_t *name,
                                  const struct escaping *escaping)
{
    piece_t *piece = ngx_array_push(format->pieces);
    if (piece == NULL) {
        return NGX_ERROR;
    }
    ngx_memzero(piece, sizeof(*piece));
    for (size_t i = 0; i < sizeof(direct_pieces) / sizeof(direct_pieces[0]); i++) {
        if (name->len == direct_pieces[i].name.len &&
            ngx_strncmp(name->data, direct_pieces[i].name.data, name->len) == 0) {
            piece->bytes_max = direct_pieces[i].bytes_max;
            piece->write = direct_pieces[i].write;
            return NGX_OK;
        }
    }
    piece->index = ngx_http_get_variable_index(cf, name);
    if (piece->index == NGX_ERROR) {
        return NGX_ERROR;
    }
    piece->measure = escaping->measure;
    piece->write = escaping->write;
    ngx_int_t *flush = ngx_array_push(format->flushes);
    if (flush == NULL) {
        return NGX_ERROR;
    }
    *flush = piece->index;
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
                              const struct escaping *escaping)
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
    format->pieces = ngx_array_create(cf->pool, 16, sizeof(piece_t));
    format->flushes = ngx_array_create(cf->pool, 8, sizeof(ngx_int_t));
    if (format->pieces == NULL || format->flushes == NULL) {
        return NGX_ERROR;
    }
    const struct escaping *escaping = &escapings[0];
    ngx_str_t *source = format->source.elts;
    for (ngx_uint_t i = 0; i < format->source.nelts; i++) {
        if (i == 0 && ngx_strncmp(source[i].data, "escape=", 7) == 0) {
            for (size_t j = 0; j < sizeof(escapings) / sizeof(escapings[0]); j++) {
                if (ngx_strcmp(source[i].data, escapings[j].argument.data) == 0) {
                    escaping = &escapings[j];
                }
            }
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
    piece_t *pieces = format->pieces->elts;
    size_t bytes = 0;
    for (ngx_uint_t i = 0; i < format->pieces->nelts; i++) {
        bytes += pieces[i].measure == NULL ? pieces[i].bytes_max : pieces[i].measure(r, &pieces[i]);
    }
    return bytes;
}

u_char *ngx_http_weir_format_write(ngx_http_request_t *r, ngx_http_weir_format_t *format,
                                   u_char *at, u_char *end)
{
    piece_t *pieces = format->pieces->elts;
    for (ngx_uint_t i = 0; i < format->pieces->nelts && at != NULL; i++) {
        if (pieces[i].measure == NULL && (size_t)(end - at) < pieces[i].bytes_max) {
            return NULL;
        }
        at = pieces[i].write(r, &pieces[i], at, end);
    }
    return at;
}
