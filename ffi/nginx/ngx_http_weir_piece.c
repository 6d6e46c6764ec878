// Pieces of log formats: literals, what a request says of itself, variables in three escapings.
#include "ffi/nginx/ngx_http_weir_piece.h"

// ---- Literals, and what need not be asked of a variable ----

static u_char *literal_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                             u_char *end)
{
    return ngx_cpymem(at, piece->text.data, piece->text.len);
}

static u_char *pipe_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                          u_char *end)
{
    *at = r->pipeline ? 'p' : '.';
    return at + 1;
}

static u_char *time_local_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                                u_char *end)
{
    return ngx_cpymem(at, ngx_cached_http_log_time.data, ngx_cached_http_log_time.len);
}

static u_char *time_iso8601_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                                  u_char *end)
{
    return ngx_cpymem(at, ngx_cached_http_log_iso8601.data, ngx_cached_http_log_iso8601.len);
}

static u_char *msec_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                          u_char *end)
{
    ngx_time_t *now = ngx_timeofday();
    return ngx_slprintf(at, end, "%T.%03M", now->sec, now->msec);
}

static u_char *request_time_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                                  u_char *end)
{
    ngx_time_t *now = ngx_timeofday();
    ngx_msec_int_t ms = (ngx_msec_int_t)((now->sec - r->start_sec) * 1000) +
                        ((ngx_msec_int_t)now->msec - (ngx_msec_int_t)r->start_msec);
    ms = ngx_max(ms, 0); // the clock may have been set
    return ngx_slprintf(at, end, "%T.%03M", (time_t)(ms / 1000), (ngx_msec_t)(ms % 1000));
}

static u_char *status_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                            u_char *end)
{
    ngx_uint_t status = r->err_status ? r->err_status : r->headers_out.status;
    if (status == 0 && r->http_version == NGX_HTTP_VERSION_9) {
        status = 9;
    }
    return ngx_slprintf(at, end, "%03ui", status);
}

static u_char *bytes_sent_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                                u_char *end)
{
    return ngx_slprintf(at, end, "%O", r->connection->sent);
}

static u_char *body_bytes_sent_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece,
                                     u_char *at, u_char *end)
{
    off_t bytes = r->connection->sent - (off_t)r->header_size;
    return ngx_slprintf(at, end, "%O", ngx_max(bytes, 0));
}

static u_char *request_length_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                                    u_char *end)
{
    return ngx_slprintf(at, end, "%O", r->request_length);
}

// Variables of these names exist too, but write into memory that they allocate.
static const struct {
    ngx_str_t name;
    size_t bytes_max;
    ngx_http_weir_piece_write_fn write;
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

static ngx_http_variable_value_t *variable_get(ngx_http_request_t *r, ngx_http_weir_piece_t *piece)
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

static size_t default_measure(ngx_http_request_t *r, ngx_http_weir_piece_t *piece)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    if (value == NULL) {
        return 1;
    }
    size_t special = bytes_special(value->data, value->len);
    value->escape = special > 0;
    return value->len + special * 3;
}

static u_char *default_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                             u_char *end)
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

static size_t json_measure(ngx_http_request_t *r, ngx_http_weir_piece_t *piece)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    if (value == NULL) {
        return 0;
    }
    size_t more = ngx_escape_json(NULL, value->data, value->len);
    value->escape = more > 0;
    return value->len + more;
}

static u_char *json_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                          u_char *end)
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

static size_t plain_measure(ngx_http_request_t *r, ngx_http_weir_piece_t *piece)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    return value == NULL ? 0 : value->len;
}

static u_char *plain_write(ngx_http_request_t *r, ngx_http_weir_piece_t *piece, u_char *at,
                           u_char *end)
{
    ngx_http_variable_value_t *value = variable_get(r, piece);
    return value == NULL ? at : variable_copy(value, at, end);
}

struct ngx_http_weir_escaping_s {
    ngx_str_t argument;
    ngx_http_weir_piece_measure_fn measure;
    ngx_http_weir_piece_write_fn write;
};

static const ngx_http_weir_escaping_t escapings[] = {
    {ngx_string("escape=default"), default_measure, default_write},
    {ngx_string("escape=json"), json_measure, json_write},
    {ngx_string("escape=none"), plain_measure, plain_write},
};

const ngx_http_weir_escaping_t *ngx_http_weir_escaping(const ngx_str_t *argument)
{
    for (size_t i = 1; argument != NULL && i < sizeof(escapings) / sizeof(escapings[0]); i++) {
        if (ngx_strcmp(argument->data, escapings[i].argument.data) == 0) {
            return &escapings[i];
        }
    }
    return &escapings[0];
}

// ---- Making them ----

void ngx_http_weir_piece_literal(ngx_http_weir_piece_t *piece, u_char *bytes, size_t count)
{
    ngx_memzero(piece, sizeof(*piece));
    piece->bytes_max = count;
    piece->write = literal_write;
    piece->text.len = count;
    piece->text.data = bytes;
}

ngx_int_t ngx_http_weir_piece_direct(ngx_http_weir_piece_t *piece, const ngx_str_t *name)
{
    for (size_t i = 0; i < sizeof(direct_pieces) / sizeof(direct_pieces[0]); i++) {
        if (name->len == direct_pieces[i].name.len &&
            ngx_strncmp(name->data, direct_pieces[i].name.data, name->len) == 0) {
            ngx_memzero(piece, sizeof(*piece));
            piece->bytes_max = direct_pieces[i].bytes_max;
            piece->write = direct_pieces[i].write;
            return NGX_OK;
        }
    }
    return NGX_DECLINED;
}

void ngx_http_weir_piece_variable(ngx_http_weir_piece_t *piece, ngx_int_t index,
                                  const ngx_http_weir_escaping_t *escaping)
{
    ngx_memzero(piece, sizeof(*piece));
    piece->index = index;
    piece->measure = escaping->measure;
    piece->write = escaping->write;
}
