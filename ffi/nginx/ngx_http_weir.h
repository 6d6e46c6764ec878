// What the files of the nginx module share: configuration, formats, pools, the worker's side of it.
//
// Configuration time (master, or `nginx -t`):  ngx_http_weir_directive.c reads weir_log into an
// ngx_http_weir_log_t each; those with the same endpoint and options share an ngx_http_weir_pool_t.
// ngx_http_weir_format.c compiles log formats into pieces: ngx_http_weir_piece.c.
// Worker, after the fork:  ngx_http_weir_worker.c opens the pools, tells the error log what the
// library reports, and drains the pools at the end. ngx_http_weir_module.c logs requests;
// ngx_http_weir_status.c shows what became of them, in all workers: ngx_http_weir_shared.c.
//
// The memory of all of it is the cycle's.
#ifndef NGX_HTTP_WEIR_H
#define NGX_HTTP_WEIR_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "weir_writer.h"

// ---- Formats ----

typedef struct ngx_http_weir_format_s ngx_http_weir_format_t;

// The `log_format` directive: hands it on to ngx_http_log_module, whose own it is, and keeps its
// text, from which a format of ours is compiled when the first weir_log asks for it.
char *ngx_http_weir_log_format(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

// The format of that name, as log_format and access_log have it, or the predefined "combined".
//   returns  NULL: an error, which was told.
ngx_http_weir_format_t *ngx_http_weir_format_find(ngx_conf_t *cf, ngx_str_t *name);

// How many bytes ngx_http_weir_format_write may need, at most; evaluates the variables.
size_t ngx_http_weir_format_measure(ngx_http_request_t *r, ngx_http_weir_format_t *format);

// Writes the line, without a newline, nothing beyond `end`.
//   returns  where it ends; NULL: a variable has grown since it was measured.
u_char *ngx_http_weir_format_write(ngx_http_request_t *r, ngx_http_weir_format_t *format,
                                   u_char *at, u_char *end);

// ---- Configuration ----

// All weir_log with one endpoint and the same options.
typedef struct {
    ngx_str_t key; // the endpoint and, in the order of their names, "name=value"; blanks between
    struct weir_pool_options options;
    ngx_uint_t procid_given; // whether `options.procid` is the configuration's, or to be the pid
    // Of this process alone, since its start:
    struct weir_pool *pool; // NULL: it could not be opened
    time_t told;            // second of the last line about messages refused
    ngx_uint_t refused;     // and how many there were since
} ngx_http_weir_pool_t;

typedef struct {
    ngx_http_weir_pool_t *pool;
    ngx_http_weir_format_t *format;
    ngx_http_complex_value_t *filter; // NULL: every request
    // RFC 3164, as access_log's: priority, the time, then host and tag. Both empty: no header.
    ngx_str_t priority;
    ngx_str_t sender;
} ngx_http_weir_log_t;

typedef struct ngx_http_weir_slot_s ngx_http_weir_slot_t;

typedef struct {
    ngx_array_t formats; // ngx_http_weir_format_t *
    ngx_array_t pools;   // ngx_http_weir_pool_t *
    ngx_msec_t drain;
    // In shared memory: of each worker, in the order of their numbers, one for each pool.
    ngx_http_weir_slot_t *slots;
    ngx_uint_t workers;
} ngx_http_weir_main_conf_t;

typedef struct {
    ngx_array_t *logs; // ngx_http_weir_log_t
    ngx_uint_t off;
} ngx_http_weir_loc_conf_t;

extern ngx_module_t ngx_http_weir_module;

char *ngx_http_weir_log_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_weir_status_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

// ---- A worker's side ----

// As ngx_module_t's: nothing happens but in processes that serve requests.
ngx_int_t ngx_http_weir_process_init(ngx_cycle_t *cycle);
void ngx_http_weir_process_exit(ngx_cycle_t *cycle);

// ---- Figures of all workers ----

// In the master, for each configuration: makes the shared memory.
ngx_int_t ngx_http_weir_shared_create(ngx_cycle_t *cycle);
// Publishes this worker's figures now; in a second, unless that is due anyway; not any more.
void ngx_http_weir_shared_publish(ngx_http_weir_main_conf_t *conf);
void ngx_http_weir_shared_soon(ngx_http_weir_main_conf_t *conf);
void ngx_http_weir_shared_stop(void);
// What the worker of that number published last of a pool.
//   returns  its process; 0: nothing.
ngx_pid_t ngx_http_weir_shared_read(ngx_http_weir_main_conf_t *conf, ngx_uint_t index,
                                    ngx_uint_t pool, struct weir_metrics *metrics);

#endif
