// The pieces that a log format is compiled into: what each needs at most, and how it is written.
#ifndef NGX_HTTP_WEIR_PIECE_H
#define NGX_HTTP_WEIR_PIECE_H

#include "ffi/nginx/ngx_http_weir.h"

typedef struct ngx_http_weir_piece_s ngx_http_weir_piece_t;
typedef struct ngx_http_weir_escaping_s ngx_http_weir_escaping_t;

// Most that a piece needs for this request; evaluates its variable.
typedef size_t (*ngx_http_weir_piece_measure_fn)(ngx_http_request_t *r,
                                                 ngx_http_weir_piece_t *piece);
// Writes it at `at`, where bytes_max, or what was measured, is known to fit unless it says NULL.
typedef u_char *(*ngx_http_weir_piece_write_fn)(ngx_http_request_t *r, ngx_http_weir_piece_t *piece,
                                                u_char *at, u_char *end);

struct ngx_http_weir_piece_s {
    size_t bytes_max;                       // 0: to be measured
    ngx_http_weir_piece_measure_fn measure; // NULL: bytes_max counts
    ngx_http_weir_piece_write_fn write;
    ngx_str_t text;  // of a literal
    ngx_int_t index; // of a variable
};

// A literal; the bytes are not copied.
void ngx_http_weir_piece_literal(ngx_http_weir_piece_t *piece, u_char *bytes, size_t count);
// What variables of some names say, without asking them. NGX_DECLINED: not one of those names.
ngx_int_t ngx_http_weir_piece_direct(ngx_http_weir_piece_t *piece, const ngx_str_t *name);
// A variable, by its index.
void ngx_http_weir_piece_variable(ngx_http_weir_piece_t *piece, ngx_int_t index,
                                  const ngx_http_weir_escaping_t *escaping);

// What log_format's argument `escape=...` asks for; NULL, or one that is unknown: the default.
const ngx_http_weir_escaping_t *ngx_http_weir_escaping(const ngx_str_t *argument);

#endif
