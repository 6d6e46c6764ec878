// The weir_log directive: what its arguments mean, and everything that can be wrong with them.
//
// What is wrong is said by `nginx -t`, and not by a worker later on: each pool is opened here
// once, on a runtime without threads that nobody drives, so that it checks its options and
// connects nowhere.
#include "ffi/nginx/ngx_http_weir.h"

#define WHY_BYTES 512
// As access_log's tag.
#define TAG_BYTES_MAX 32
// Of facility and severity, times 8 and added.
#define PRIORITY_BYTES_MAX sizeof("<191>")

// RFC 5424's number of local7, which access_log has as its default.
#define FACILITY_DEFAULT "local7"
#define SEVERITY_DEFAULT "info"
#define TAG_DEFAULT "nginx"

// A directive's arguments, sorted.
typedef struct {
    ngx_conf_t *cf;
    ngx_str_t *endpoint;
    ngx_str_t *format; // NULL: combined
    ngx_str_t *filter; // NULL: none
    ngx_str_t tag;     // empty: not given
    ngx_uint_t hostname_none;
    ngx_uint_t syslog; // facility, severity, tag or nohostname was given
    ngx_array_t names; // ngx_str_t: of the options given
    struct weir_pool_options options;
} arguments_t;

static char *refuse(arguments_t *arguments, const char *what, ngx_str_t *argument, const char *why)
{
    ngx_conf_log_error(NGX_LOG_EMERG, arguments->cf, 0, "weir_log: %s \"%V\"%s%s", what, argument,
                       *why == '\0' ? "" : ": ", why);
    return NGX_CONF_ERROR;
}

static ngx_uint_t string_is(ngx_str_t *text, const char *other)
{
    return text->len == ngx_strlen(other) && ngx_strncmp(text->data, other, text->len) == 0;
}

// ---- Options ----

static ngx_uint_t name_given(arguments_t *arguments, const char *name)
{
    ngx_str_t *names = arguments->names.elts;
    for (ngx_uint_t i = 0; i < arguments->names.nelts; i++) {
        if (string_is(&names[i], name)) {
            return 1;
        }
    }
    return 0;
}

static char *option_tag(arguments_t *arguments, ngx_str_t *argument, ngx_str_t *value)
{
    if (value->len == 0 || value->len > TAG_BYTES_MAX) {
        return refuse(arguments, "invalid tag in", argument, "1 to 32 characters are right");
    }
    for (size_t i = 0; i < value->len; i++) {
        u_char lower = value->data[i] | 0x20;
        u_char byte = value->data[i];
        if ((lower < 'a' || lower > 'z') && (byte < '0' || byte > '9') && byte != '_') {
            return refuse(arguments, "invalid tag in", argument,
                          "letters, digits and underscores are right");
        }
    }
    arguments->tag = *value;
    return NGX_CONF_OK;
}

static char *option_pool(arguments_t *arguments, ngx_str_t *argument, ngx_str_t *name,
                         ngx_str_t *value)
{
    char why[WHY_BYTES];
    u_char *text = ngx_pnalloc(arguments->cf->pool, name->len + 1);
    if (text == NULL) {
        return NGX_CONF_ERROR;
    }
    *ngx_cpymem(text, name->data, name->len) = '\0';
    if (ngx_strcmp(text, "endpoint") == 0) {
        return refuse(arguments, "invalid parameter", argument, "the endpoint is the first one");
    }
    if (weir_pool_options_set(&arguments->options, (char *)text, (char *)value->data, why,
                              sizeof(why)) < 0) {
        return refuse(arguments, "invalid parameter", argument, why);
    }
    if (arguments->options.full == WEIR_FULL_BLOCK) {
        return refuse(arguments, "invalid parameter", argument,
                      "a worker must not wait: drop-newest or drop-oldest");
    }
    return NGX_CONF_OK;
}

static char *option_set(arguments_t *arguments, ngx_str_t *argument)
{
    u_char *equals = ngx_strlchr(argument->data, argument->data + argument->len, '=');
    if (equals == NULL) {
        return refuse(arguments, "invalid parameter", argument,
                      arguments->format == NULL ? "" : "an option is \"name=value\"");
    }
    ngx_str_t name = {(size_t)(equals - argument->data), argument->data};
    ngx_str_t value = {argument->len - name.len - 1, equals + 1};
    ngx_str_t *names = arguments->names.elts;
    for (ngx_uint_t i = 0; i < arguments->names.nelts; i++) {
        if (names[i].len == name.len && ngx_strncmp(names[i].data, name.data, name.len) == 0) {
            return refuse(arguments, "invalid parameter", argument, "it was given before");
        }
    }
    ngx_str_t *place = ngx_array_push(&arguments->names);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }
    *place = name;
    if (string_is(&name, "facility") || string_is(&name, "severity") || string_is(&name, "tag")) {
        arguments->syslog = 1;
    }
    return string_is(&name, "tag") ? option_tag(arguments, argument, &value)
                                   : option_pool(arguments, argument, &name, &value);
}

static char *argument_take(arguments_t *arguments, ngx_uint_t index)
{
    ngx_str_t *argument = &((ngx_str_t *)arguments->cf->args->elts)[index];
    for (size_t i = 0; i < argument->len; i++) {
        if (argument->data[i] < 0x20 || argument->data[i] == 0x7f) {
            return refuse(arguments, "control character in", argument, "");
        }
    }
    if (index == 1) {
        arguments->endpoint = argument;
        return NGX_CONF_OK;
    }
    if (ngx_strncmp(argument->data, "if=", 3) == 0) {
        if (arguments->filter != NULL || argument->len == 3) {
            return refuse(arguments, "invalid parameter", argument, "one condition is right");
        }
        arguments->filter = argument;
        return NGX_CONF_OK;
    }
    if (string_is(argument, "nohostname")) {
        arguments->syslog = 1;
        arguments->hostname_none = 1;
        return NGX_CONF_OK;
    }
    if (index == 2 && ngx_strlchr(argument->data, argument->data + argument->len, '=') == NULL) {
        arguments->format = argument;
        return NGX_CONF_OK;
    }
    return option_set(arguments, argument);
}

static char *arguments_read(arguments_t *arguments)
{
    ngx_conf_t *cf = arguments->cf;
    weir_pool_options_init(&arguments->options);
    if (weir_pool_options_set(&arguments->options, "facility", FACILITY_DEFAULT, NULL, 0) < 0 ||
        weir_pool_options_set(&arguments->options, "severity", SEVERITY_DEFAULT, NULL, 0) < 0 ||
        ngx_array_init(&arguments->names, cf->temp_pool, 8, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        if (argument_take(arguments, i) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }
    arguments->options.endpoint = (char *)arguments->endpoint->data;
    return NGX_CONF_OK;
}

// ---- Headers ----

static u_char *text_terminated(ngx_conf_t *cf, ngx_str_t *text)
{
    u_char *copy = ngx_pnalloc(cf->pool, text->len + 1);
    if (copy != NULL) {
        *ngx_cpymem(copy, text->data, text->len) = '\0';
    }
    return copy;
}

// RFC 5424's is the library's: what was not given has nginx's defaults.
static ngx_int_t header_rfc5424(arguments_t *arguments)
{
    struct weir_pool_options *options = &arguments->options;
    ngx_conf_t *cf = arguments->cf;
    if (!name_given(arguments, "app")) {
        options->app = TAG_DEFAULT;
        if (arguments->tag.len > 0) {
            options->app = (char *)text_terminated(cf, &arguments->tag);
        }
    }
    if (!name_given(arguments, "hostname") && !arguments->hostname_none) {
        options->hostname = (char *)text_terminated(cf, &cf->cycle->hostname);
    }
    return options->app == NULL || options->hostname == NULL ? NGX_ERROR : NGX_OK;
}

// RFC 3164's, as access_log's: "<190>Nov 22 23:43:20 host nginx: ".
static ngx_int_t header_rfc3164(arguments_t *arguments, ngx_http_weir_log_t *log)
{
    ngx_conf_t *cf = arguments->cf;
    ngx_str_t *hostname = &cf->cycle->hostname;
    ngx_str_t tag = ngx_string(TAG_DEFAULT);
    if (arguments->tag.len > 0) {
        tag = arguments->tag;
    }
    log->priority.data = ngx_pnalloc(cf->pool, PRIORITY_BYTES_MAX);
    log->sender.data = ngx_pnalloc(cf->pool, hostname->len + tag.len + sizeof("  : "));
    if (log->priority.data == NULL || log->sender.data == NULL) {
        return NGX_ERROR;
    }
    u_char *end =
        ngx_sprintf(log->priority.data, "<%ui>",
                    (ngx_uint_t)arguments->options.facility * 8 + arguments->options.severity);
    log->priority.len = (size_t)(end - log->priority.data);
    end = arguments->hostname_none ? ngx_sprintf(log->sender.data, " %V: ", &tag)
                                   : ngx_sprintf(log->sender.data, " %V %V: ", hostname, &tag);
    log->sender.len = (size_t)(end - log->sender.data);
    return NGX_OK;
}

// ---- Pools ----

// What makes a pool another one: the endpoint and the options that are the library's.
static ngx_int_t pair_compare(const void *left, const void *right)
{
    return ngx_strcmp(((const ngx_str_t *)left)->data, ((const ngx_str_t *)right)->data);
}

static ngx_int_t pool_key(arguments_t *arguments, ngx_str_t *key)
{
    ngx_conf_t *cf = arguments->cf;
    ngx_uint_t rfc5424 = arguments->options.header == WEIR_HEADER_RFC5424;
    ngx_str_t *value = cf->args->elts;
    ngx_array_t pairs;
    if (ngx_array_init(&pairs, cf->temp_pool, cf->args->nelts, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }
    size_t bytes = arguments->endpoint->len;
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_uint_t syslog = ngx_strncmp(value[i].data, "facility=", 9) == 0 ||
                            ngx_strncmp(value[i].data, "severity=", 9) == 0 ||
                            ngx_strncmp(value[i].data, "tag=", 4) == 0 ||
                            string_is(&value[i], "nohostname");
        if (&value[i] == arguments->format || &value[i] == arguments->filter ||
            (syslog && !rfc5424)) {
            continue;
        }
        *(ngx_str_t *)ngx_array_push(&pairs) = value[i]; // there is room
        bytes += 1 + value[i].len;
    }
    ngx_str_t *pair = pairs.elts;
    ngx_sort(pair, pairs.nelts, sizeof(ngx_str_t), pair_compare);
    key->data = ngx_pnalloc(cf->pool, bytes);
    if (key->data == NULL) {
        return NGX_ERROR;
    }
    u_char *end = ngx_cpymem(key->data, arguments->endpoint->data, arguments->endpoint->len);
    for (ngx_uint_t i = 0; i < pairs.nelts; i++) {
        *end++ = ' ';
        end = ngx_cpymem(end, pair[i].data, pair[i].len);
    }
    key->len = bytes;
    return NGX_OK;
}

static char *pool_check(arguments_t *arguments)
{
    char why[WHY_BYTES] = "";
    struct weir_runtime_options threads = {.workers = 0, .os = NULL};
    struct weir_runtime *runtime;
    struct weir_pool *pool;
    int error = weir_runtime_create(&runtime, &threads);
    if (error == 0) {
        error = weir_pool_open(&pool, runtime, &arguments->options, why, sizeof(why));
        if (error == 0) {
            weir_pool_destroy(pool);
        }
        weir_runtime_destroy(runtime);
    }
    return error == 0 ? NGX_CONF_OK
                      : refuse(arguments, "invalid parameters for", arguments->endpoint,
                               *why == '\0' ? weir_error_text(error) : why);
}

static ngx_http_weir_pool_t *pool_add(arguments_t *arguments, ngx_str_t *key)
{
    ngx_conf_t *cf = arguments->cf;
    ngx_http_weir_main_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_weir_module);
    if (pool_check(arguments) != NGX_CONF_OK) {
        return NULL;
    }
    ngx_http_weir_pool_t **place = ngx_array_push(&conf->pools);
    ngx_http_weir_pool_t *pool = ngx_pcalloc(cf->pool, sizeof(*pool));
    if (place == NULL || pool == NULL) {
        return NULL;
    }
    pool->key = *key;
    pool->options = arguments->options;
    pool->procid_given = name_given(arguments, "procid");
    *place = pool;
    return pool;
}

static ngx_http_weir_pool_t *pool_find(arguments_t *arguments)
{
    ngx_http_weir_main_conf_t *conf =
        ngx_http_conf_get_module_main_conf(arguments->cf, ngx_http_weir_module);
    ngx_str_t key;
    if (pool_key(arguments, &key) != NGX_OK) {
        return NULL;
    }
    ngx_http_weir_pool_t **pools = conf->pools.elts;
    for (ngx_uint_t i = 0; i < conf->pools.nelts; i++) {
        if (pools[i]->key.len == key.len &&
            ngx_memcmp(pools[i]->key.data, key.data, key.len) == 0) {
            return pools[i];
        }
    }
    return pool_add(arguments, &key);
}

// ---- The directive ----

static char *filter_compile(arguments_t *arguments, ngx_http_weir_log_t *log)
{
    ngx_http_compile_complex_value_t compile;
    ngx_str_t condition = {arguments->filter->len - 3, arguments->filter->data + 3};
    ngx_memzero(&compile, sizeof(compile));
    compile.cf = arguments->cf;
    compile.value = &condition;
    compile.complex_value = ngx_palloc(arguments->cf->pool, sizeof(ngx_http_complex_value_t));
    if (compile.complex_value == NULL || ngx_http_compile_complex_value(&compile) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    log->filter = compile.complex_value;
    return NGX_CONF_OK;
}

static char *log_fill(arguments_t *arguments, ngx_http_weir_log_t *log)
{
    static ngx_str_t combined = ngx_string("combined");
    ngx_int_t done = NGX_OK;
    ngx_memzero(log, sizeof(*log));
    if (arguments->options.header == WEIR_HEADER_RFC5424) {
        done = header_rfc5424(arguments);
    } else if (arguments->syslog) {
        done = header_rfc3164(arguments, log);
    }
    if (done != NGX_OK ||
        (arguments->filter != NULL && filter_compile(arguments, log) != NGX_CONF_OK)) {
        return NGX_CONF_ERROR;
    }
    log->pool = pool_find(arguments);
    if (log->pool == NULL) {
        return NGX_CONF_ERROR;
    }
    log->format = ngx_http_weir_format_find(
        arguments->cf, arguments->format != NULL ? arguments->format : &combined);
    return log->format == NULL ? NGX_CONF_ERROR : NGX_CONF_OK;
}

char *ngx_http_weir_log_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_weir_loc_conf_t *location = conf;
    ngx_str_t *value = cf->args->elts;
    arguments_t arguments = {.cf = cf};
    if (ngx_strcmp(value[1].data, "off") == 0) {
        location->off = 1;
        return cf->args->nelts == 2
                   ? NGX_CONF_OK
                   : refuse(&arguments, "invalid parameter", &value[2], "nothing follows \"off\"");
    }
    if (arguments_read(&arguments) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }
    if (location->logs == NULL) {
        location->logs = ngx_array_create(cf->pool, 2, sizeof(ngx_http_weir_log_t));
        if (location->logs == NULL) {
            return NGX_CONF_ERROR;
        }
    }
    ngx_http_weir_log_t *log = ngx_array_push(location->logs);
    return log == NULL ? NGX_CONF_ERROR : log_fill(&arguments, log);
}
