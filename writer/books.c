// Showing and reading the books of a writer's task.
//
// A sequence lock, as put into C11's terms by H.-J. Boehm, "Can seqlocks get along with programming
// language memory models?" (MSPC 2012), with a copy to spare so that the reader needs no quiet
// moment.
#include "writer/books.h"

#include <string.h>

_Static_assert(sizeof(struct weir_books) % sizeof(uint64_t) == 0, "nothing but numbers");

static uint64_t books_get(const struct weir_books *books, size_t index)
{
    uint64_t word;
    memcpy(&word, (const unsigned char *)books + index * sizeof(word), sizeof(word));
    return word;
}

static void books_set(struct weir_books *books, size_t index, uint64_t word)
{
    memcpy((unsigned char *)books + index * sizeof(word), &word, sizeof(word));
}

void weir_books_show(struct weir_books_shown *shown, const struct weir_books *books)
{
    uint64_t version = atomic_load_explicit(&shown->version, memory_order_relaxed);
    _Atomic uint64_t *copy = shown->copies[(version / 2 + 1) % 2];
    atomic_store_explicit(&shown->version, version + 1, memory_order_release); // [B1]
    for (size_t i = 0; i < WEIR_BOOKS_WORDS; i++) {
        atomic_store_explicit(&copy[i], books_get(books, i), memory_order_release); // [B2]
    }
    atomic_store_explicit(&shown->version, version + 2, memory_order_release); // [B1]
}

void weir_books_read(const struct weir_books_shown *shown, struct weir_books *books)
{
    uint64_t first, last;
    // Every further round means that the task has shown twice.
    do {
        uint64_t version = atomic_load_explicit(&shown->version, memory_order_acquire); // [B1]
        first = version / 2;
        const _Atomic uint64_t *copy = shown->copies[first % 2];
        for (size_t i = 0; i < WEIR_BOOKS_WORDS; i++) {
            books_set(books, i, atomic_load_explicit(&copy[i], memory_order_acquire)); // [B2]
        }
        last = atomic_load_explicit(&shown->version, memory_order_relaxed);
    } while (last > 2 * first + 2);
}
