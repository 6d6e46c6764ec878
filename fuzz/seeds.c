// Makes the seeds of all targets but sim: out of the data of the project's own tests, and by hand.
//
//   seeds FOLDER         run in the project's folder; makes FOLDER/TARGET/NAME
//
// The tests of the parsers hold what is right and what is wrong as string literals; those become
// inputs, named by file and line. Sequences of operations the tests have in code; the short ones
// below do the same in each target's own bytes.
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LITERAL_BYTES_MAX 8192
#define FILE_BYTES_MAX (1u << 20)

struct literal {
    char bytes[LITERAL_BYTES_MAX];
    size_t count;
    unsigned line;
};

static const char *folder;
static unsigned written;

static _Noreturn void give_up(const char *path)
{
    fprintf(stderr, "seeds: %s: %s\n", path, strerror(errno));
    exit(2);
}

static void seed_write(const char *target, const char *name, const void *head, size_t head_bytes,
                       const void *bytes, size_t count)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, target);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        give_up(path);
    }
    snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(head, 1, head_bytes, file) != head_bytes ||
        fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        give_up(path);
    }
    written++;
}

// ---- String literals of a C file ----

struct scanner {
    char *text;
    size_t bytes, at;
    unsigned line;
};

static int scanner_peek(const struct scanner *scanner, size_t ahead)
{
    size_t at = scanner->at + ahead;
    return at < scanner->bytes ? (unsigned char)scanner->text[at] : -1;
}

static void scanner_skip(struct scanner *scanner)
{
    scanner->line += scanner_peek(scanner, 0) == '\n';
    scanner->at++;
}

static bool scanner_comment(struct scanner *scanner)
{
    int second = scanner_peek(scanner, 1);
    if (scanner_peek(scanner, 0) != '/' || (second != '/' && second != '*')) {
        return false;
    }
    scanner->at += 2;
    while (scanner_peek(scanner, 0) >= 0) {
        int byte = scanner_peek(scanner, 0);
        if (second == '/' ? byte == '\n' : byte == '*' && scanner_peek(scanner, 1) == '/') {
            scanner->at += second == '/' ? 0 : 2;
            break;
        }
        scanner_skip(scanner);
    }
    return true;
}

// One character, escapes and all (C11, 6.4.4.4).
static int scanner_character(struct scanner *scanner)
{
    static const char letters[] = "abfnrtv";
    static const char meanings[] = "\a\b\f\n\r\t\v";
    int byte = scanner_peek(scanner, 0);
    scanner_skip(scanner);
    if (byte != '\\') {
        return byte;
    }
    byte = scanner_peek(scanner, 0);
    scanner_skip(scanner);
    const char *letter = byte > 0 ? strchr(letters, byte) : NULL;
    if (letter != NULL) {
        return meanings[letter - letters];
    }
    unsigned value = 0;
    if (byte == 'x') {
        while (isxdigit(scanner_peek(scanner, 0))) {
            int digit = tolower(scanner_peek(scanner, 0));
            value = value * 16 + (unsigned)(isdigit(digit) ? digit - '0' : digit - 'a' + 10);
            scanner_skip(scanner);
        }
        return (int)(value & 255);
    }
    if (byte < '0' || byte > '7') {
        return byte;
    }
    value = (unsigned)(byte - '0');
    for (int i = 0; i < 2 && scanner_peek(scanner, 0) >= '0' && scanner_peek(scanner, 0) <= '7';
         i++) {
        value = value * 8 + (unsigned)(scanner_peek(scanner, 0) - '0');
        scanner_skip(scanner);
    }
    return (int)(value & 255);
}

// The next literal, those that follow it with nothing but blanks between included.
static bool scanner_literal(struct scanner *scanner, struct literal *literal)
{
    bool found = false;
    literal->count = 0;
    while (scanner_peek(scanner, 0) >= 0) {
        int byte = scanner_peek(scanner, 0);
        if (byte == '"') {
            literal->line = found ? literal->line : scanner->line;
            found = true;
            scanner_skip(scanner);
            while (scanner_peek(scanner, 0) >= 0 && scanner_peek(scanner, 0) != '"') {
                int character = scanner_character(scanner);
                if (literal->count < sizeof(literal->bytes) - 1) {
                    literal->bytes[literal->count++] = (char)character;
                }
            }
            scanner_skip(scanner);
        } else if (found && !isspace(byte)) {
            break;
        } else if (byte == '\'') {
            scanner_skip(scanner);
            (void)scanner_character(scanner);
            scanner_skip(scanner);
        } else if (!scanner_comment(scanner)) {
            scanner_skip(scanner);
        }
    }
    literal->bytes[literal->count] = '\0';
    return found;
}

// ---- What becomes of them ----

typedef void literal_use(const struct literal *before, const struct literal *literal,
                         const char *name);

static void use_endpoint(const struct literal *before, const struct literal *literal,
                         const char *name)
{
    (void)before;
    if (strchr(literal->bytes, ':') != NULL && strchr(literal->bytes, ' ') == NULL) {
        char line[LITERAL_BYTES_MAX + 8];
        int bytes = snprintf(line, sizeof(line), "--to=%s", literal->bytes);
        seed_write("endpoint", name, "", 0, literal->bytes, literal->count);
        seed_write("args", name, "", 0, line, (size_t)bytes);
    }
}

// Two literals in a line: an option and its value, as the tests set them.
static void use_option(const struct literal *before, const struct literal *literal,
                       const char *name)
{
    static const char head[] = "--to=tcp://collector:601\n";
    bool is_name = before->count > 0 && before->line == literal->line &&
                   strspn(before->bytes, "abcdefghijklmnopqrstuvwxyz_0123456789") == before->count;
    if (is_name) {
        char line[2 * LITERAL_BYTES_MAX];
        int bytes = snprintf(line, sizeof(line), "--%s=%s\n", before->bytes, literal->bytes);
        seed_write("args", name, head, sizeof(head) - 1, line, (size_t)bytes);
    }
}

static void use_relp(const struct literal *before, const struct literal *literal, const char *name)
{
    static const unsigned char head[] = {0, 5, 0};
    (void)before;
    if (memchr(literal->bytes, ' ', literal->count) != NULL && literal->count > 4 &&
        isdigit((unsigned char)literal->bytes[0])) {
        seed_write("relp", name, head, sizeof(head), literal->bytes, literal->count);
    }
}

// Each framing with and without a header takes its turn.
static void use_framing(const struct literal *before, const struct literal *literal,
                        const char *name)
{
    // Of these days: an ordinary one, one in a leap year, the one that ends four centuries, the
    // last.
    static const unsigned char days[][4] = {{0x79, 0x2b, 0x81, 0x6a},
                                            {0x80, 0xc8, 0xdf, 0x65},
                                            {0x80, 0x0d, 0xbb, 0x38},
                                            {0xff, 0xff, 0xff, 0xff}};
    unsigned char head[13] = {0, 3, 0x15, 0x83, 2, 3, 0, 0, 0, 0, 1, 2, 0};
    (void)before;
    if (literal->count > 0 && literal->count < 200) {
        head[0] = (unsigned char)((literal->line % 4) | (literal->line / 4 % 3) << 3 |
                                  (literal->line & 1) << 5);
        memcpy(head + 6, days[literal->line / 2 % 4], sizeof(days[0]));
        head[1] = (unsigned char)(head[1] | (literal->line / 8 % 4) << 6);
        seed_write("framing", name, head, sizeof(head), literal->bytes, literal->count);
    }
}

static void file_use(const char *path, const char *label, literal_use *use)
{
    static struct literal literals[2];
    struct scanner scanner = {.text = malloc(FILE_BYTES_MAX), .line = 1};
    FILE *file = fopen(path, "rb");
    if (file == NULL || scanner.text == NULL) {
        give_up(path);
    }
    scanner.bytes = fread(scanner.text, 1, FILE_BYTES_MAX, file);
    fclose(file);
    memset(literals, 0, sizeof(literals));
    for (unsigned number = 0; scanner_literal(&scanner, &literals[number % 2]); number++) {
        char name[128];
        snprintf(name, sizeof(name), "%s-%u-%u", label, literals[number % 2].line, number);
        use(&literals[(number + 1) % 2], &literals[number % 2], name);
    }
    free(scanner.text);
}

// ---- Sequences of operations ----

struct sequence {
    const char *target, *name, *bytes;
    size_t count;
};
#define SEQUENCE(target, name, bytes)                                                              \
    {                                                                                              \
        target, name, bytes, sizeof(bytes) - 1                                                     \
    }

static const struct sequence sequences[] = {
    // Numbers near the last one; eight sent, answered from both ends, let go.
    SEQUENCE("relp", "window-wrap", "\x03\x00\x02\x07\x47\x60\x41\xc7\x1f\x60\xc1"),
    SEQUENCE("relp", "window-stranger", "\x01\x00\x00\x01\x80\xff\xff\x00\x00\x40\xc0\x40"),
    SEQUENCE("relp", "command-bracket", "\x00\x05\x00\x30 a[b 0\n"),
    SEQUENCE("relp", "command-brace", "\x00\x05\x00\x30 a{b 0\n"),
    // Filled and emptied; shed; stolen from; a thief asleep while its owner goes on.
    SEQUENCE("queue", "laps", "\x05\x80\x80\x80\x82\x82\x80\x82\x82"),
    SEQUENCE("queue", "shed", "\x80\x80\x80\x04\x60\x04\x42\x04"),
    SEQUENCE("queue", "steal", "\x10\x80\x60\x05\x25\x4a\x0a\x15\x1d\x82"),
    SEQUENCE("queue", "thief", "\xff\x80\x80\x07\x02\x00\x05\x04\x60\x07\x60\x05\x06"),
    // A quiet life; a break in the middle; an epoch; a move; the time is over.
    SEQUENCE("machine", "life", "\x00\x01\x02\x04\x05\x05\x06\x09\x1a"),
    SEQUENCE("machine", "break", "\x00\x03\x00\x01\x03\x00\x01\x02\x07\x00\x01\x02\x04\x05\x07"),
    SEQUENCE("machine", "epoch", "\x00\x01\x02\x04\x05\x06\x08\x0a\x02\x04\x08\x0b\x01\x02\x07"),
    SEQUENCE("machine", "end", "\x00\x01\x02\x04\x09\x17"),
    SEQUENCE("machine", "deadline", "\x00\x01\x0c"),
    SEQUENCE("machine", "apart", "\x19\x00"),
    // Sent, counted, read in part and whole, looked at; dead in each step; cut short; proven.
    SEQUENCE("ledger", "sent", "\x00\x03\x05\x02\x00\x00\x00\x00"),
    SEQUENCE("ledger", "tcp", "\x01\x00\x10\x02\x06\x22\x06\x05\x06\x14\x06"),
    SEQUENCE("ledger", "tcp-proof", "\x01\x50\x06\x05\x07\x06\x07\x07\x07"),
    SEQUENCE("ledger", "tcp-early", "\x01\x50\xf2\x07\x06\x05\x07\xf2\x07\x07"),
    SEQUENCE("ledger", "absurd",
             "\x07\x08\1\1\1\1\1\1\1\x7f\xff\xff\xff\xff\xff\xff\xff\xff"
             "\xc0\1\0\0\0\0\0\0\0\x08\1\1\1\1\1\1\1\1\xff\xff\xff\xff"
             "\xff\xff\xff\xff"),
    SEQUENCE("ledger", "many", "\x02\xf1\xf1\xf1\xf1\xf1\xf1\xf1\xf1\xf1\xf1\xf1\x0b\xf6\x0b"),
    SEQUENCE("ledger", "unix", "\x72\x10\x08\x20\x08\x14\x0b\x06\x07\x07\x0b\x46\x0b"),
    SEQUENCE("ledger", "unix-dies", "\x72\x10\x08\x20\x08\x06\x08\x0f\x0f\x0a\x0f\x0f\x08\x0a"),
    SEQUENCE("ledger", "unix-cut", "\x72\xf3\x08\x08\x0a"),
    SEQUENCE("ledger", "unix-proof", "\x72\x30\x08\x0c\x06\x0f\x0f\x0f\x0d\x0d\x0d\x0d"),
    SEQUENCE("ledger", "unix-early", "\x72\x0d\x30\x08\x0c\x06\x0f\x0f\x0f\x0d\x0d\x0d\x0d"),
    SEQUENCE("ledger", "unix-big", "\xf2\xf2\x08\xf2\x08\x0b\xf6\x0b\x26\x0b"),
    // Near and far ones, due ones, stopped ones; the edges of slots; the end of time.
    SEQUENCE("timer", "near",
             "\0\0\1\0\0\0\0\0\x00\x03\x41\x01\x05\x42\x02\x07\x51\xa0\x04\x41"
             "\x62\xc5\xe0"),
    SEQUENCE("timer", "far",
             "\0\0\1\0\0\0\0\0\x00\x03\x44\x01\x05\x46\x02\x07\x48\x03\x01\x57"
             "\xc1\xc1\xc1\xa0\x02\x54\xc9\xe0"),
    SEQUENCE("timer", "late",
             "\0\0\0\xff\0\0\0\0\x00\x03\x64\x01\x05\x01\x02\x00\x40\x81\x00\x40"
             "\xa0\x01\x42"),
    SEQUENCE("timer", "end", "\0\0\xff\xff\xff\xff\xff\xff\x00\xff\x41\x01\xff\x40\xa0\x01\x41"),
    // Appended, sealed, taken, sent, confirmed within a message, broken, sent again.
    SEQUENCE("segment", "resend",
             "\x20\x10\x03\x09\x00\x71\x03\x81\x03\x61\x03\x06\xf8\xf9\x9b"
             "\x0d\xf9\x3b\x0d\xf9\xfc"),
    SEQUENCE("segment", "gaps",
             "\x30\x1f\x03\x09\x00\xf1\xf1\xf1\x14\xf4\x05\x06\xf8\x2a\x0b\x0d"
             "\xf9\xfc"),
    SEQUENCE("segment", "drop", "\x08\x10\x01\x03\x00\x81\x03\x81\x03\x81\x07\x81\x03\xf8\x07\xf9"),
    SEQUENCE("segment", "replay",
             "\x10\x10\x05\x03\x40\x91\x03\x91\x03\x91\x03\xf8\xf9\xfc\x1d\xf9"
             "\x91\x03\x06\xf8\xf9\x4b\x1d\xf9"),
    SEQUENCE("segment", "refuse",
             "\x40\x1f\x02\x0b\x00\x51\x03\x51\x03\x51\x03\x06\xf8\xf9\x0e\x5b"
             "\x0e\x0d\xf9\xff\xf8"),
    // Opened, every call, closed and called again; options of all kinds; wrong ones; wrong selves.
    SEQUENCE("lua", "life",
             "\0\0\0\0\0\0\0\2\1\1\0\3abc\0\3\0\0\0\5\0\0\0\6\0\0\0\4\0\0\0\0\0\2\1\1\0\1x"
             "\0\5\0\0\0\4\0\0\0\3\0\0\0\6\0\0"),
    SEQUENCE("lua", "options",
             "\0\0\0\3\x01\1\1\x0a\3\1\x05\0\3raw\1\0\1\2\x0c\1\x20\0\2\x0d\1\6"
             "\2\0\2\1\x10\3\1\1\5\0\0\2\5\0\0"),
    SEQUENCE("lua", "refusals",
             "\0\0\0\1\x16\0\1y\0\0\0\1\x1b\1\1\2\0\xc8\0\xca\0\xcb\0\0\0\1\2\0\3-1x"
             "\0\0\0\1\0\0\3a\0b\0\0\0\1\x18\4\0\0\1\x05\5"),
    SEQUENCE("lua", "selves",
             "\0\0\0\0\0\0\xf1\1\2\0\1\xf4\0\3\xf3\0\0\5\xf7\x10\0\4\xfb\0\0\6\xf2\0\7\5\0\0"),
    SEQUENCE("lua", "numbers",
             "\0\0\0\0\0\0\0\4\1\x0e\0\1x\1\1\1\4\0\0\0\4\1\2\0\1x\2\2\0\0\0\4\1\3\0\1x\2\2"
             "\0\0\0\4\1\1\0\1x\2\1\4\0\0\0\4\1\x0d\0\1x\1\1\1\5\0\3\0\x90\0\4\0\x80"),
};

// Two answers of as many bytes as are kept of one: a length a little off takes in the other, too.
static void answers_write(void)
{
    char text[2 * 600];
    size_t bytes = 3;
    memset(text, 0, bytes);
    for (int number = 1; number <= 2; number++) {
        bytes += (size_t)snprintf(text + bytes, sizeof(text) - bytes, "%d rsp 512 200 %0508d\n",
                                  number, number);
    }
    seed_write("relp", "answers-long", "", 0, text, bytes);
    static const char *const offers[] = {
        "200 OK\nrelp_version=0\nrelp_software=librelp,1.11\ncommands=syslog",
        "200 OK\nrelp_version=1,0\ncommands=eventlog,syslog,x\n",
        "200 OK\nrelp_version=0\ncommands=eventlog",
        "200 OK\nrelp_version=1",
    };
    for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
        char name[32];
        snprintf(name, sizeof(name), "open-%zu", i);
        bytes = 3 + (size_t)snprintf(text + 3, sizeof(text) - 3, "1 rsp %zu %s\n",
                                     strlen(offers[i]), offers[i]);
        seed_write("relp", name, "", 0, text, bytes);
    }
}

// Host names about as long as they may be, in labels as long as they may be; ports at the edges.
static void endpoints_write(void)
{
    static const char *const texts[] = {"tcp://h:0",     "tcp://h:00",    "tcp://h:65535",
                                        "tcp://h:65536", "tcp://h\x7f:1", "tcp://A-z_Z.9a:1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char name[32];
        snprintf(name, sizeof(name), "port-%zu", i);
        seed_write("endpoint", name, "", 0, texts[i], strlen(texts[i]));
    }
    for (size_t bytes = 252; bytes <= 255; bytes++) {
        char text[300];
        char name[32];
        int head = snprintf(text, sizeof(text), "tcp://");
        for (size_t at = 0; at < bytes; at++) {
            text[(size_t)head + at] = at % 64 == 63 ? '.' : 'a';
        }
        int tail = snprintf(text + (size_t)head + bytes, 8, ":1");
        snprintf(name, sizeof(name), "name-%zu", bytes);
        seed_write("endpoint", name, "", 0, text, (size_t)head + bytes + (size_t)tail);
    }
}

// A command line with an option of each kind, and one for each kind of endpoint.
static const char *const command_lines[] = {
    "--to=relp://a:1|relp://b:2,relp://[::1]:3\n--window-messages=7\n--window-bytes\n64k\n"
    "--refused=drop",
    "--to=unix:/run/log.sock\n--pool-size=2\n--buffer-bytes-max=1m\n--message-bytes-max=8k\n"
    "--flush-limit-bytes=16k\n--replay-bytes=4k\n--full=block\n--gap-records=on",
    "--to=udp://127.0.0.1:514\n--header=rfc5424\n--facility=local7\n--severity=3\n--hostname=h\n"
    "--app=weir\n--procid=1\n--msgid=m",
    "--to=tcp://h:601\n--framing=octet-counting\n--confirm=peer\n--epoch-bytes-max=1m\n--\n--x",
    // As many endpoints as there may be; then what does not go together.
    "--to=unix:/a|unix:/b|unix:/c|unix:/d,unix:/e,unix:/f|unix:/g,unix:@h",
    "--to=udp://a:1\n--framing=octet-counting",
    "--to=udp://a:1\n--confirm=peer",
    "--to=udp://a:1\n--message-bytes-max=65508",
    "--to=udp://a:1\n--message-bytes-max=64k\n--message-bytes-max=60000",
    "--to=relp://a:1\n--framing=raw",
    "--to=relp://a:1\n--framing=octet-counting",
    "--to=relp://a:1\n--framing=relp\n--confirm=ack\n--replay-bytes=1",
    "--to=relp://a:1\n--confirm=sent",
    "--to=relp://a:1\n--confirm=peer",
    "--to=tcp://a:1\n--confirm=sent\n--replay-bytes=1",
    "--to=tcp://a:1\n--header=rfc5424\n--message-bytes-max=40",
    "--to=tcp://a:1\n--gap-records=on\n--message-bytes-max=100",
    "--to=tcp://a:1\n--retry-interval-ms=9\n--retry-interval-max-ms=8",
    "--to=tcp://a:1\n--pool-size=64\n--buffer-bytes-max=1m",
    "--to=tcp://a:1\n--flush-limit-bytes=1\n--message-bytes-max=9\n--buffer-bytes-max=4096",
    "--flush-limit-bites=1\n--to=",
};

int main(int count, char **values)
{
    if (count != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    folder = values[1];
    file_use("tests/test_endpoint.c", "endpoint", use_endpoint);
    file_use("tests/test_endpoint_random.c", "endpoint-random", use_endpoint);
    file_use("tests/test_options.c", "options", use_option);
    file_use("tests/test_options_refusal.c", "options-refusal", use_option);
    file_use("tests/test_plan.c", "plan", use_option);
    file_use("tests/test_plan_conflict.c", "plan-conflict", use_option);
    file_use("tests/test_plan_endpoint.c", "plan-endpoint", use_option);
    file_use("tests/test_relp.c", "relp", use_relp);
    file_use("tests/test_relp_client.c", "relp-client", use_relp);
    file_use("tests/test_framing.c", "framing", use_framing);
    for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
        const struct sequence *one = &sequences[i];
        seed_write(one->target, one->name, "", 0, one->bytes, one->count);
    }
    answers_write();
    endpoints_write();
    for (size_t i = 0; i < sizeof(command_lines) / sizeof(command_lines[0]); i++) {
        char name[32];
        snprintf(name, sizeof(name), "command-%zu", i);
        seed_write("args", name, "", 0, command_lines[i], strlen(command_lines[i]));
    }
    printf("%u seeds in %s\n", written, folder);
    return 0;
}
