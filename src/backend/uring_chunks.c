/* uring_chunks.c - see uring_chunks.h. */
#include "backend/uring_chunks.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MEMORY_BYTES ((size_t)CA_CHUNKS * CA_CHUNK_BYTES)
#define RING_BYTES ((size_t)CA_CHUNKS * sizeof(uring_buf))

_Static_assert((CA_CHUNKS & (CA_CHUNKS - 1)) == 0, "positions are masked");

static void *
map(size_t size)
{
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

int
ca_chunks_open(ca_chunks *chunks, ca_uring *ring)
{
    *chunks = (ca_chunks){.memory = map(MEMORY_BYTES),
                          .free_ring = map(RING_BYTES)};
    int err = 0;
    if (chunks->memory == NULL || chunks->free_ring == NULL) {
        err = -ENOMEM;
    }
    uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)chunks->free_ring,
        .ring_entries = CA_CHUNKS,
    };
    if (err == 0 && syscall(URING_SYS_REGISTER, (long)ring->fd,
                            (long)URING_REGISTER_PBUF_RING, &reg, 1L) < 0) {
        err = -errno;
    }
    if (err < 0) {
        ca_chunks_close(chunks);
        return err;
    }
    while (chunks->nspare < CA_CHUNKS) {
        ca_chunks_give(chunks, CA_CHUNKS - 1 - chunks->nspare);
    }
    return 0;
}

void
ca_chunks_close(ca_chunks *chunks)
{
    if (chunks->memory != NULL) {
        (void)munmap(chunks->memory, MEMORY_BYTES);
    }
    if (chunks->free_ring != NULL) {
        (void)munmap(chunks->free_ring, RING_BYTES);
    }
    *chunks = (ca_chunks){0};
}

void
ca_chunks_take(ca_chunks *chunks, int chunk, uint32_t nbytes)
{
    chunks->offered--;
    chunks->nbytes[chunk] = nbytes;
    chunks->next[chunk] = CA_CHUNK_NONE;
}

/* Let the kernel fill it. */
static void
offer(ca_chunks *chunks, int chunk)
{
    uring_buf *buf = &chunks->free_ring[chunks->tail & (CA_CHUNKS - 1)];
    buf->addr = (uint64_t)(uintptr_t)ca_chunks_at(chunks, chunk);
    buf->len = CA_CHUNK_BYTES;
    buf->bid = (uint16_t)chunk;
    chunks->tail++;
    chunks->offered++;
    atomic_store_explicit((_Atomic uint16_t *)&chunks->free_ring[0].tail,
                          chunks->tail, memory_order_release);
}

void
ca_chunks_give(ca_chunks *chunks, int chunk)
{
    if (chunks->offered < chunks->wanted) {
        offer(chunks, chunk);
    } else {
        chunks->spare[chunks->nspare++] = (int16_t)chunk;
    }
}

void
ca_chunks_offer(ca_chunks *chunks, int wanted)
{
    chunks->wanted = wanted;
    while (chunks->offered < wanted && chunks->nspare > 0) {
        offer(chunks, chunks->spare[--chunks->nspare]);
    }
}
