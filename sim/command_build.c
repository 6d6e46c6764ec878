// Which build this is, and where in it a code position lies: what replay files and reports name.
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "sim/command.h"

#define BUILD_ID_BYTES_MAX 32

struct note_search {
    char digits[2 * BUILD_ID_BYTES_MAX + 1];
};

// The descriptions of notes follow each other, padded to four bytes: elf(5).
static bool note_find(struct note_search *search, const unsigned char *notes, size_t bytes)
{
    for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
        ElfW(Nhdr) note;
        memcpy(&note, notes + at, sizeof note);
        at += sizeof note;
        size_t name_bytes = ((size_t)note.n_namesz + 3) & ~(size_t)3;
        size_t value_bytes = ((size_t)note.n_descsz + 3) & ~(size_t)3;
        if (name_bytes > bytes - at || value_bytes > bytes - at - name_bytes) {
            return false;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(notes + at, "GNU", 4) == 0 && note.n_descsz <= BUILD_ID_BYTES_MAX) {
            for (size_t i = 0; i < note.n_descsz; i++) {
                snprintf(search->digits + 2 * i, 3, "%02x", notes[at + name_bytes + i]);
            }
            return note.n_descsz > 0;
        }
        at += name_bytes + value_bytes;
    }
    return false;
}

// The program itself is the first object that dl_iterate_phdr(3) names.
static int program_visit(struct dl_phdr_info *info, size_t bytes, void *context)
{
    (void)bytes;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        const unsigned char *notes =
            (const unsigned char *)(info->dlpi_addr + header->p_vaddr); // NOLINT: an ELF address
        if (header->p_type == PT_NOTE && note_find(context, notes, header->p_memsz)) {
            break;
        }
    }
    return 1;
}

uint64_t sim_fnv(uint64_t hash, const void *bytes, size_t bytes_count)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < bytes_count; i++) {
        hash = (hash ^ byte[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

static void file_hash(struct note_search *search)
{
    unsigned char bytes[4096];
    uint64_t hash = SIM_FNV_START;
    FILE *file = fopen("/proc/self/exe", "rbe");
    if (file != NULL) {
        for (size_t got = fread(bytes, 1, sizeof bytes, file); got > 0;
             got = fread(bytes, 1, sizeof bytes, file)) {
            hash = sim_fnv(hash, bytes, got);
        }
        (void)fclose(file);
    }
    snprintf(search->digits, sizeof search->digits, "file-%016llx", (unsigned long long)hash);
}

const char *sim_build_id(void)
{
    static struct note_search search;
    if (search.digits[0] == '\0') {
        (void)dl_iterate_phdr(program_visit, &search);
    }
    if (search.digits[0] == '\0') {
        file_hash(&search);
    }
    return search.digits;
}

// ---- Positions ----

struct position_search {
    uintptr_t where;
    uint64_t offset;
    const char *object; // empty: the program
};

static int object_visit(struct dl_phdr_info *info, size_t bytes, void *context)
{
    (void)bytes;
    struct position_search *search = context;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && search->where - begin < header->p_memsz) {
            search->offset = search->where - info->dlpi_addr;
            search->object = info->dlpi_name;
            return 1;
        }
    }
    return 0;
}

void sim_build_position(const void *where, char *text, size_t text_bytes)
{
    struct position_search search = {.where = (uintptr_t)where, .object = ""};
    (void)dl_iterate_phdr(object_visit, &search);
    const char *base = strrchr(search.object, '/');
    snprintf(text, text_bytes, "%s+0x%llx", base == NULL ? search.object : base + 1,
             (unsigned long long)search.offset);
}
