// Turns outstanding-byte counts, liveness and errors of one connection into confirmed bytes.
#include "writer/ledger.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"

_Static_assert((WEIR_LEDGER_UNITS_MAX & (WEIR_LEDGER_UNITS_MAX - 1)) == 0, "ring index by mask");

static struct weir_ledger_unit *ledger_unit(struct weir_ledger *ledger, uint32_t index)
{
    return &ledger->units[(ledger->first + index) & (WEIR_LEDGER_UNITS_MAX - 1)];
}

void weir_ledger_init(struct weir_ledger *ledger, enum weir_ledger_kind kind)
{
    weir_assert(kind == WEIR_LEDGER_SENT || kind == WEIR_LEDGER_UNIX || kind == WEIR_LEDGER_TCP);
    memset(ledger, 0, sizeof *ledger);
    ledger->kind = kind;
    ledger->step = WEIR_LEDGER_OPEN;
}

// The only place where the answer moves, so the only place that has to keep it honest.
static void ledger_confirm(struct weir_ledger *ledger, uint64_t end)
{
    weir_assert(end <= ledger->written);
    if (end > ledger->confirmed) {
        ledger->confirmed = end;
    }
    weir_assert(ledger->confirmed <= ledger->written);
}

// What is not outstanding is confirmed. Counts above what was written confirm nothing.
static void ledger_confirm_difference(struct weir_ledger *ledger, uint64_t outstanding)
{
    if (outstanding < ledger->written) {
        ledger_confirm(ledger, ledger->written - outstanding);
    }
}

// When the ring is full the youngest unit takes the new bytes in. Sound: the sum of two lower
// bounds is one of the sum, and the pair is dropped only when both are read; what is lost is the
// boundary between them. It is the youngest, and only until the next drop, so the pairing stays
// shallow.
static void ledger_push(struct weir_ledger *ledger, uint64_t bytes, uint64_t growth)
{
    uint64_t cost = growth > bytes ? growth : bytes;
    uint64_t room = UINT64_MAX - ledger->cost;
    struct weir_ledger_unit *unit;

    // A smaller cost is always sound, so absurd counts are cut off here instead of wrapping the
    // sum.
    if (cost > room) {
        cost = room;
    }
    if (ledger->count < WEIR_LEDGER_UNITS_MAX) {
        ledger->count++;
        unit = ledger_unit(ledger, ledger->count - 1);
        unit->cost = 0;
    } else {
        unit = ledger_unit(ledger, ledger->count - 1);
    }
    unit->end = ledger->written;
    unit->cost += cost;
    ledger->cost += cost;
}

void weir_ledger_sent(struct weir_ledger *ledger, uint64_t bytes, uint64_t outstanding_after)
{
    weir_assert(ledger->step == WEIR_LEDGER_OPEN);
    weir_assert(bytes > 0 && bytes <= UINT64_MAX - ledger->written);

    ledger->written += bytes;
    ledger->cut = false; // the peer lived after the one before
    if (ledger->kind == WEIR_LEDGER_SENT) {
        ledger_confirm(ledger, ledger->written);
    } else if (ledger->kind == WEIR_LEDGER_UNIX) {
        uint64_t before = ledger->outstanding;
        bool counted = outstanding_after != WEIR_LEDGER_UNCOUNTED;
        bool grown = counted && outstanding_after > before;
        ledger_push(ledger, bytes, grown ? outstanding_after - before : 0);
        ledger->outstanding = outstanding_after; // uncounted: no growth shows until a sample
    }
}

void weir_ledger_cut_short(struct weir_ledger *ledger)
{
    weir_assert(ledger->step == WEIR_LEDGER_OPEN && ledger->written > 0);
    ledger->cut = ledger->kind == WEIR_LEDGER_UNIX;
}

// Drops from the old end every unit that the count proves read: see the header, steps 2 and 3.
static void ledger_drop_read(struct weir_ledger *ledger, uint64_t outstanding)
{
    while (ledger->count > 0) {
        const struct weir_ledger_unit *unit = ledger_unit(ledger, 0);
        if (ledger->cost - unit->cost < outstanding) {
            break;
        }
        ledger_confirm(ledger, unit->end);
        ledger->cost -= unit->cost;
        ledger->first++;
        ledger->count--;
    }
    weir_assert(ledger->count > 0 || ledger->cost == 0);
}

static void ledger_sample_unix(struct weir_ledger *ledger, uint64_t outstanding, bool alive)
{
    if (!alive) {
        ledger->gone = true;
    }
    if (ledger->gone) {
        return;
    }
    ledger->cut = false;
    ledger->outstanding = outstanding;
    ledger_drop_read(ledger, outstanding);
    ledger_confirm_difference(ledger, outstanding);
}

uint64_t weir_ledger_sample(struct weir_ledger *ledger, uint64_t outstanding, bool alive)
{
    if (ledger->kind == WEIR_LEDGER_UNIX) {
        ledger_sample_unix(ledger, outstanding, alive);
    } else if (ledger->kind == WEIR_LEDGER_TCP) {
        ledger_confirm_difference(ledger, outstanding);
    }
    weir_assert(ledger->confirmed <= ledger->written);
    return ledger->confirmed;
}

void weir_ledger_error(struct weir_ledger *ledger, int error)
{
    switch (error > 0 ? -error : error) {
    case 0:
    case -EAGAIN:
    case -EINTR:
    case -ENOBUFS:
    case -ENOMEM: return;
    case -EPIPE:
        // A Unix socket answers EPIPE without touching the pending error. TCP's EPIPE may be the
        // pending error: that is the name of a reset which arrives after the peer's FIN.
        if (ledger->kind == WEIR_LEDGER_UNIX) {
            return;
        }
        break;
    default: break;
    }
    ledger->reset = true;
}

// Confirms everything; the units have nothing left to answer.
static void ledger_confirm_all(struct weir_ledger *ledger)
{
    ledger->count = 0;
    ledger->cost = 0;
    ledger_confirm(ledger, ledger->written);
}

uint64_t weir_ledger_died(struct weir_ledger *ledger, uint64_t outstanding, int so_error)
{
    weir_assert(ledger->step != WEIR_LEDGER_OVER);
    weir_ledger_error(ledger, so_error);
    if (ledger->kind == WEIR_LEDGER_TCP) {
        ledger_confirm_difference(ledger, outstanding);
    } else if (ledger->kind == WEIR_LEDGER_UNIX && outstanding == 0 && !ledger->reset &&
               !ledger->cut) {
        ledger_confirm_all(ledger);
    }
    ledger->gone = true;
    ledger->step = WEIR_LEDGER_OVER;
    weir_assert(ledger->confirmed <= ledger->written);
    return ledger->confirmed;
}

void weir_ledger_shutdown(struct weir_ledger *ledger)
{
    weir_assert(ledger->step == WEIR_LEDGER_OPEN);
    ledger->step = WEIR_LEDGER_SHUT;
}

void weir_ledger_end_of_stream(struct weir_ledger *ledger)
{
    // An end of stream can be read again and again, so hearing of it twice is no mistake.
    weir_assert(ledger->step <= WEIR_LEDGER_ENDED);
    if (ledger->step == WEIR_LEDGER_OPEN) {
        ledger->ended_early = true;
    } else {
        ledger->step = WEIR_LEDGER_ENDED;
    }
}

bool weir_ledger_emptied(struct weir_ledger *ledger, uint64_t outstanding)
{
    weir_assert(ledger->step == WEIR_LEDGER_ENDED);
    if (outstanding != 0) {
        return false;
    }
    ledger->step = WEIR_LEDGER_EMPTY;
    return true;
}

bool weir_ledger_proven(struct weir_ledger *ledger, int so_error)
{
    weir_assert(ledger->step == WEIR_LEDGER_EMPTY);
    weir_ledger_error(ledger, so_error);
    // On TCP the peer's end of stream means "I have read your end" only if it came after our end.
    if (ledger->reset || ledger->cut || (ledger->ended_early && ledger->kind != WEIR_LEDGER_UNIX)) {
        ledger->step = WEIR_LEDGER_ENDED;
        return false;
    }
    ledger_confirm_all(ledger);
    ledger->step = WEIR_LEDGER_PROVEN;
    return true;
}
