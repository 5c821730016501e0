// Memory for NumPy's arrays of which every piece has an inaccessible page before it and another one behind it.
//
//     page        what
//     first       its size, for free and realloc
//     second      inaccessible
//     2 .. n - 2  the numbers: they begin where these pages begin, or end where they end
//     last        inaccessible
//
// An access past the end that touches a page faults; what the last or first page has left over beside the numbers is filled, and looked
// at when the memory is freed, so that something written there is found too. New memory is filled with all bits set: nan as a
// float, -1 as a whole number, so that a number nobody wrote shows in the result.

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILLED = 0xFF, KEPT = 256 };

int at_the_end = 1;       // which page the numbers lie at: the one behind them, or else the one before them
long long pieces = 0;     // how many were made

typedef struct {
    size_t size, length;  // of the numbers; of all pages
    char *numbers;
} Header;

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static Header *header_of(void *numbers) {  // they always begin in the third page
    return (Header *)(((uintptr_t)numbers & ~(page() - 1)) - 2 * page());
}

static void *make(size_t size, int zeros) {
    size_t inside = (size + page() - 1) / page() * page();
    if (inside == 0) inside = page();
    size_t length = inside + 3 * page();
    if (length < size) return NULL;
    char *base = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return NULL;
    char *open = base + 2 * page();
    if (mprotect(base, page(), PROT_READ | PROT_WRITE) || mprotect(open, inside, PROT_READ | PROT_WRITE)) {
        munmap(base, length);
        return NULL;
    }
    Header *header = (Header *)base;
    header->size = size;
    header->length = length;
    header->numbers = at_the_end && size ? open + inside - size : open;
    char *behind = header->numbers + size;
    if (zeros) {  // which new pages are
        memset(open, FILLED, header->numbers - open);
        memset(behind, FILLED, open + inside - behind);
    } else {
        memset(open, FILLED, inside);
    }
    __atomic_add_fetch(&pieces, 1, __ATOMIC_RELAXED);
    return header->numbers;
}

static void *guarded_malloc(void *context, size_t size) {
    (void)context;
    return make(size, 0);
}

static void guarded_free(void *context, void *numbers, size_t size) {
    (void)context, (void)size;
    if (!numbers) return;
    Header *header = header_of(numbers);
    char *open = (char *)header + 2 * page(), *end = (char *)header + header->length - page();
    int before = 0, behind = 0;
    for (char *p = open; p < header->numbers; p++) before |= *p != (char)FILLED;
    for (char *p = header->numbers + header->size; p < end; p++) behind |= *p != (char)FILLED;
    if (before || behind) {
        fprintf(stderr, "a byte was written %s an array of %zu bytes\n", before ? "before" : "behind", header->size);
        abort();
    }
    // nobody may touch it for as long as the next pieces are freed; its pages go back at once
    size_t length = header->length;
    mmap(header, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    static struct { void *base; size_t length; } freed[KEPT];
    static unsigned long long count = 0;
    unsigned long long place = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED) % KEPT;
    if (freed[place].base) munmap(freed[place].base, freed[place].length);
    freed[place].base = header;
    freed[place].length = length;
}

static void *guarded_calloc(void *context, size_t count, size_t size) {
    (void)context;
    if (size && count > SIZE_MAX / size) return NULL;
    return make(count * size, 1);
}

static void *guarded_realloc(void *context, void *before, size_t size) {
    void *numbers = guarded_malloc(context, size);
    if (numbers && before) {
        size_t old = header_of(before)->size;
        memcpy(numbers, before, old < size ? old : size);
        guarded_free(context, before, old);
    }
    return numbers;
}

// NumPy's PyDataMem_Handler (numpy/ndarraytypes.h), version 1
struct {
    char name[127];
    uint8_t version;
    void *context, *malloc, *calloc, *realloc, *free;
} handler = {"guarded", 1, NULL, guarded_malloc, guarded_calloc, guarded_realloc, guarded_free};
