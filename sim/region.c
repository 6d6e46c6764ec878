// Regions of addresses, from the operating system.
#include "sim/region.h"

#include <stdint.h>
#include <sys/mman.h>

// A multiple of every page size in use.
#define PAGE_BYTES ((uintptr_t)64 << 10)

void *sim_region_reserve(size_t bytes)
{
    void *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return region == MAP_FAILED ? NULL : region;
}

void sim_region_release(void *region, size_t bytes)
{
    if (region != NULL) {
        (void)munmap(region, bytes);
    }
}

void sim_region_trim(void *region, size_t keep, size_t used)
{
    uintptr_t from = ((uintptr_t)region + keep + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    uintptr_t to = ((uintptr_t)region + used + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    if (from < to) {
        (void)madvise((char *)region + (from - (uintptr_t)region), to - from, MADV_DONTNEED);
    }
}
