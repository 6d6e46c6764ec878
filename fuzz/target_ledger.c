// Fuzz target ledger: what it confirms, beside a model of kernel and peer that knows the truth.
//
//   KIND             one byte: the kind of ledger, and what memory a buffer takes
//   then operations, a byte each: its low four bits which one, its high ones how much
//
// Every step of the kernel that a sender could fall in between is an operation of its own: a buffer
// is freed in two steps, a peer dies in four, a count is taken in one and used in another. The
// promise: no byte is confirmed that the peer has not read (UNIX), or that its kernel has not
// acknowledged (TCP).
#include "fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "writer/ledger.h"

#define BUFFERS_MAX 2048
#define BUFFER_BYTES_MAX 36544 // of a Unix stream socket's buffer: more is split
#define SEND_BUFFER_BYTES 212992

enum life { ALIVE, DEAD, HUNG_UP, ERROR_SET, PURGED };

struct buffer {
    uint64_t payload; // not yet copied by the peer
    uint64_t memory;
};

struct kernel {
    struct buffer buffers[BUFFERS_MAX];
    uint32_t first, count; // of those that hold something unread
    uint64_t written, read, memory;
    uint64_t freeing; // what is still to be taken off `memory`, in two steps
    uint32_t overhead;
    enum life life;
    bool had_unread;
    int error; // pending, shown once
};

struct sender {
    struct weir_ledger ledger;
    uint64_t sent;  // above 0: a send whose count is still to be taken
    bool cut;       // that send took less than it was given
    uint64_t count; // of the sample under way
    bool sampling;
    bool proving; // shut; goes the four steps
};

static struct kernel kernel;
static struct sender sender;

static void kernel_free_step(void)
{
    uint64_t now = kernel.freeing > 1 ? kernel.freeing - 1 : kernel.freeing;
    kernel.memory -= now;
    kernel.freeing -= now;
}

// Queues up to `bytes`; a peer may die after the first buffer of them.
static uint64_t kernel_send(uint64_t bytes, bool dies_within)
{
    uint64_t sent = 0;
    while (sent < bytes && kernel.life == ALIVE && kernel.memory < SEND_BUFFER_BYTES &&
           kernel.first + kernel.count < BUFFERS_MAX) {
        uint64_t part = bytes - sent < BUFFER_BYTES_MAX ? bytes - sent : BUFFER_BYTES_MAX;
        uint64_t memory = part + kernel.overhead + (part % 7) * (kernel.overhead / 4);
        kernel.buffers[kernel.first + kernel.count++] = (struct buffer){part, memory};
        kernel.memory += memory;
        sent += part;
        if (dies_within && sent < bytes) {
            // All of his death between two buffers: the send takes the error, and tells of its
            // bytes.
            kernel.life = PURGED;
            kernel.count = 0;
            kernel.memory = 0;
            kernel.freeing = 0;
            kernel.had_unread = true;
        }
    }
    kernel.written += sent;
    return sent;
}

static void kernel_read(uint64_t bytes)
{
    if (kernel.life != ALIVE || kernel.count == 0) {
        return;
    }
    while (kernel.freeing > 0) {
        kernel_free_step();
    }
    struct buffer *buffer = &kernel.buffers[kernel.first];
    bytes = bytes < buffer->payload ? bytes : buffer->payload;
    buffer->payload -= bytes;
    kernel.read += bytes;
    if (buffer->payload == 0) {
        kernel.freeing = buffer->memory;
        kernel.first++;
        kernel.count--;
    }
}

static void kernel_die_step(void)
{
    switch (kernel.life) {
    case ALIVE:
        while (kernel.freeing > 0) {
            kernel_free_step();
        }
        kernel.had_unread = kernel.count > 0;
        kernel.life = DEAD;
        break;
    case DEAD: kernel.life = HUNG_UP; break;
    case HUNG_UP:
        kernel.error = kernel.had_unread ? ECONNRESET : 0;
        kernel.life = ERROR_SET;
        break;
    case ERROR_SET:
        if (kernel.freeing > 0) {
            kernel_free_step();
        } else if (kernel.count > 0) {
            kernel.freeing = kernel.buffers[kernel.first].memory;
            kernel.first++;
            kernel.count--;
        } else {
            kernel.life = PURGED;
        }
        break;
    case PURGED: break;
    }
}

static int kernel_take_error(void)
{
    int error = kernel.error;
    kernel.error = 0;
    return error;
}

static void ledger_check(uint64_t before)
{
    const struct weir_ledger *ledger = &sender.ledger;
    fuzz_require(ledger->confirmed >= before && ledger->confirmed <= ledger->written);
    fuzz_require(ledger->confirmed <= kernel.read);
    fuzz_require(ledger->written + sender.sent == kernel.written);
}

static void sender_count(void)
{
    if (sender.sent > 0) {
        uint64_t sent = sender.sent;
        sender.sent = 0;
        weir_ledger_sent(&sender.ledger, sent, kernel.memory);
        if (sender.cut) {
            weir_ledger_cut_short(&sender.ledger);
        }
    } else if (!sender.sampling) {
        sender.count = kernel.memory;
        sender.sampling = true;
    }
}

static void sender_look(void)
{
    if (sender.sampling) {
        (void)weir_ledger_sample(&sender.ledger, sender.count, kernel.life < HUNG_UP);
        sender.sampling = false;
    }
}

static void sender_send(uint64_t bytes, bool dies_within)
{
    // Between a send and its count the sender does nothing else; the peer may do everything.
    if (sender.sent > 0 || sender.sampling || sender.proving) {
        return;
    }
    sender.sent = kernel_send(bytes, dies_within);
    sender.cut = sender.sent > 0 && sender.sent < bytes;
    if (sender.sent == 0) {
        int error = kernel.life == ALIVE ? EAGAIN : kernel.error != 0 ? kernel_take_error() : EPIPE;
        weir_ledger_error(&sender.ledger, -error);
    }
}

static void sender_shut(void)
{
    if (sender.sent == 0 && !sender.sampling && !sender.proving && kernel.life == ALIVE) {
        weir_ledger_shutdown(&sender.ledger);
        sender.proving = true;
    }
}

// The end of the stream comes when the peer closes; then a count, then the error.
static void sender_prove(void)
{
    struct weir_ledger *ledger = &sender.ledger;
    if (!sender.proving) {
        weir_ledger_end_of_stream(ledger); // a peer that reads on may say so: of no account here
        return;
    }
    if (ledger->step == WEIR_LEDGER_SHUT && kernel.life >= DEAD) {
        // A receive shows the pending error before the end.
        int error = kernel_take_error();
        if (error != 0) {
            weir_ledger_error(ledger, -error);
        } else if (kernel.life >= ERROR_SET) {
            weir_ledger_end_of_stream(ledger);
        }
    } else if (ledger->step == WEIR_LEDGER_ENDED) {
        (void)weir_ledger_emptied(ledger, kernel.memory);
    } else if (ledger->step == WEIR_LEDGER_EMPTY) {
        bool proven = weir_ledger_proven(ledger, kernel_take_error());
        fuzz_require(!proven || ledger->confirmed == ledger->written);
    }
}

static void unix_step(uint8_t what)
{
    uint64_t much = what >> 4;
    switch (what & 15) {
    case 0: sender_send(1 + much * 53, false); break;
    case 1: // more than the ledger keeps apart
        for (uint64_t i = 0; i <= much * 4; i++) {
            sender_send(1 + much, false);
            sender_count();
        }
        break;
    case 2: sender_send(1 + (much << 14), false); break;
    case 3: sender_send(1 + (much << 14), true); break;
    case 4:
    case 5: kernel_read(1 + much * 37); break;
    case 6:
        for (uint64_t i = 0; i <= much; i++) {
            kernel_read(UINT64_MAX);
        }
        break;
    case 7: kernel_free_step(); break;
    case 8:
    case 9: sender_count(); break;
    case 10: sender_look(); break;
    case 11:
        sender_count();
        sender_look();
        break;
    case 12: sender_shut(); break;
    case 13:
    case 14: sender_prove(); break;
    default: kernel_die_step();
    }
}

// Dead or alive: the last word of the ledger is true, and complete where it can be.
static void unix_finish(void)
{
    if (sender.sent > 0) {
        sender_count();
    }
    sender_look();
    if (kernel.life == ALIVE && !sender.proving) {
        while (kernel.count > 0) {
            kernel_read(UINT64_MAX);
        }
        while (kernel.freeing > 0) {
            kernel_free_step();
        }
        uint64_t confirmed = weir_ledger_sample(&sender.ledger, kernel.memory, true);
        fuzz_require(confirmed == kernel.written);
    } else if (sender.ledger.step != WEIR_LEDGER_PROVEN) {
        uint64_t count = kernel.memory;
        while (kernel.life != PURGED) {
            kernel_die_step(); // the count is taken before the error, whatever happens between
        }
        (void)weir_ledger_died(&sender.ledger, count, kernel_take_error());
    }
}

// TCP: `read` is what the peer's kernel acknowledged, and the count is exact.
struct tcp {
    bool shut;  // our end
    bool early; // the peer's end came before it
    bool ended; // the peer's end came after it: it had read everything
};

// The peer's end of stream, and the steps of the proof. A peer that says its end early proves
// nothing.
static void tcp_prove(struct tcp *tcp)
{
    struct weir_ledger *ledger = &sender.ledger;
    if (!tcp->shut) {
        tcp->early = true;
        weir_ledger_end_of_stream(ledger);
    } else if (ledger->step == WEIR_LEDGER_SHUT) {
        kernel.read = tcp->early ? kernel.read : kernel.written;
        tcp->ended = !tcp->early;
        weir_ledger_end_of_stream(ledger);
    } else if (ledger->step == WEIR_LEDGER_ENDED) {
        // The peer's kernel has acknowledged our end, too, once it has everything before it.
        (void)weir_ledger_emptied(ledger, kernel.written - kernel.read);
    } else if (ledger->step == WEIR_LEDGER_EMPTY) {
        bool reset = ledger->reset;
        fuzz_require(weir_ledger_proven(ledger, 0) == (tcp->ended && !reset));
    }
}

static void tcp_step(uint8_t what, struct tcp *tcp)
{
    static const int errors[] = {EAGAIN, ECONNRESET, EPIPE, 0};
    struct weir_ledger *ledger = &sender.ledger;
    uint64_t much = (uint64_t)(what >> 4) * 97 + 1;
    // Our end counts as a byte, until it is acknowledged.
    uint64_t outstanding = kernel.written - kernel.read + (tcp->shut && !tcp->ended ? 1 : 0);
    switch (what & 7) {
    case 0:
    case 1:
        if (!tcp->shut) {
            kernel.written += much;
            weir_ledger_sent(ledger, much, 0);
        }
        break;
    case 2:
    case 3:
        kernel.read = kernel.written - kernel.read < much ? kernel.written : kernel.read + much;
        break;
    case 4: weir_ledger_error(ledger, -errors[what >> 4 & 3]); break;
    case 5:
        if (!tcp->shut) {
            weir_ledger_shutdown(ledger);
            tcp->shut = true;
        }
        break;
    case 7: tcp_prove(tcp); break;
    default:
        fuzz_require(weir_ledger_sample(ledger, outstanding, (what & 8) != 0) <= kernel.read);
        fuzz_require(tcp->shut || ledger->confirmed == kernel.read);
    }
}

static void tcp_run(struct fuzz_input *input)
{
    struct tcp tcp = {false, false, false};
    while (fuzz_more(input)) {
        uint64_t before = sender.ledger.confirmed;
        tcp_step(fuzz_u8(input), &tcp);
        ledger_check(before);
    }
    uint64_t before = sender.ledger.confirmed;
    uint64_t outstanding = kernel.written - kernel.read + (tcp.shut && !tcp.ended ? 1 : 0);
    (void)weir_ledger_died(&sender.ledger, outstanding, 0);
    ledger_check(before);
    fuzz_require(tcp.shut || sender.ledger.confirmed == kernel.read);
}

// What the kernel took is confirmed, whatever else is told.
static void sent_run(struct fuzz_input *input)
{
    while (fuzz_more(input)) {
        uint8_t what = fuzz_u8(input);
        if ((what & 1) != 0) {
            kernel.written += what;
            weir_ledger_sent(&sender.ledger, what, fuzz_u8(input));
        } else {
            (void)weir_ledger_sample(&sender.ledger, fuzz_u32(input), (what & 2) != 0);
        }
        fuzz_require(sender.ledger.confirmed == kernel.written);
    }
    fuzz_require(weir_ledger_died(&sender.ledger, 0, 0) == kernel.written);
}

// Counts that no kernel gives: nothing is promised but that the sums do not wrap.
static void absurd_run(struct fuzz_input *input)
{
    struct weir_ledger *ledger = &sender.ledger;
    while (fuzz_more(input)) {
        uint64_t before = ledger->confirmed;
        uint8_t what = fuzz_u8(input);
        uint64_t bytes = fuzz_u64(input) >> (what & 63);
        if (what < 128 && bytes > 0 && bytes <= UINT64_MAX - ledger->written) {
            weir_ledger_sent(ledger, bytes, fuzz_u64(input));
        } else {
            (void)weir_ledger_sample(ledger, bytes, (what & 64) != 0);
        }
        fuzz_require(ledger->confirmed >= before && ledger->confirmed <= ledger->written);
    }
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    uint8_t kind = fuzz_u8(&input);
    // The buffers need no clearing: they are written before they are read.
    kernel.first = 0;
    kernel.count = 0;
    kernel.written = 0;
    kernel.read = 0;
    kernel.memory = 0;
    kernel.freeing = 0;
    kernel.overhead = kind & 0xf0;
    kernel.life = ALIVE;
    kernel.had_unread = false;
    kernel.error = 0;
    sender.sent = 0;
    sender.cut = false;
    sender.sampling = false;
    sender.proving = false;
    if (kind % 8 == 0) {
        weir_ledger_init(&sender.ledger, WEIR_LEDGER_SENT);
        sent_run(&input);
    } else if (kind % 8 == 1) {
        weir_ledger_init(&sender.ledger, WEIR_LEDGER_TCP);
        tcp_run(&input);
    } else if (kind % 8 == 7) {
        weir_ledger_init(&sender.ledger, WEIR_LEDGER_UNIX);
        absurd_run(&input);
    } else {
        weir_ledger_init(&sender.ledger, WEIR_LEDGER_UNIX);
        while (fuzz_more(&input)) {
            uint64_t before = sender.ledger.confirmed;
            unix_step(fuzz_u8(&input));
            ledger_check(before);
        }
        uint64_t before = sender.ledger.confirmed;
        unix_finish();
        ledger_check(before);
    }
}
