#include "cache.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "../pool.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ownlm {
namespace {

#if defined(__linux__)
constexpr size_t kHuge = 2 << 20;
#endif

int64_t whole(int64_t n, int64_t of) { return (n + of - 1) / of * of; }

// Bytes of 16 tokens' keys with what stands before them, and of their values.
int64_t bytes_of_keys(KvFormat format, int64_t head_dim) {
  switch (format) {
    case KvFormat::f32: return kPage * 4 * head_dim;
    case KvFormat::bf16: return kPage * 2 * head_dim;
    case KvFormat::int8: return kPage * (4 + whole(head_dim, 4));
    default: return kPage * (4 + whole(head_dim, 8) / 2);
  }
}
int64_t bytes_of_values(KvFormat format, int64_t head_dim) {
  switch (format) {
    case KvFormat::f32: return kPage * 4 * padded(head_dim);
    case KvFormat::bf16: return kPage * 2 * padded(head_dim);
    case KvFormat::int8: return kPage * padded(head_dim);
    default: return kPage * whole(head_dim, 32) / 2;
  }
}

}  // namespace

KVCache::KVCache(int64_t layers_, int64_t blocks_, int64_t block_size_, int64_t heads_, int64_t head_dim_, KvFormat format_)
    : layers(layers_), blocks(blocks_), block_size(block_size_), heads(heads_), head_dim(head_dim_), format(format_),
      turned(format_ == KvFormat::int4), pages_per_block(block_size_ / kPage), together(block_size_ < kChunk ? kChunk / block_size_ : 1),
      key_bytes(bytes_of_keys(format_, head_dim_)), value_bytes(bytes_of_values(format_, head_dim_)) {
  const size_t size = static_cast<size_t>(bytes());
#if defined(__linux__)
  // Pages that no token has touched take no memory. Huge ones where the system has them: a depth of some thousand tokens is
  // read at two thirds of the speed otherwise.
  void* mapped = mmap(nullptr, size + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<uint8_t*>(mapped);
  const size_t align = size < kHuge ? kAlign : kHuge;
  data_ = memory_ + (align - reinterpret_cast<uintptr_t>(memory_) % align) % align;
  if (size >= kHuge) madvise(data_, size, MADV_HUGEPAGE);  // a wish: without it all is as right
#else
  memory_ = static_cast<uint8_t*>(std::calloc(size + kAlign, 1));
  if (!memory_) throw std::bad_alloc();
  data_ = memory_ + (kAlign - reinterpret_cast<uintptr_t>(memory_) % kAlign) % kAlign;
#endif
}

KVCache::~KVCache() {
#if defined(__linux__)
  munmap(memory_, static_cast<size_t>(bytes()) + kHuge);
#else
  std::free(memory_);
#endif
}

void KVCache::copy_block(int64_t from, int64_t to) {
  if (from == to) return;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (int64_t head = 0; head < heads; ++head) {
      const Place source = place(layer, from, head, 0), target = place(layer, to, head, 0);
      std::memcpy(target.keys, source.keys, static_cast<size_t>(pages_per_block * key_bytes));
      std::memcpy(target.values, source.values, static_cast<size_t>(pages_per_block * value_bytes));
    }
}

// copy(place in the cache, offset in the bytes, size)
template <class Copy>
void KVCache::each_piece(const int32_t* ids, int64_t count, Copy copy) const {
  const int64_t keys = pages_per_block * key_bytes, values = pages_per_block * value_bytes;
  pool::run(layers * heads, 0, true, [&](int64_t task, int, void*) {
    for (int64_t i = 0; i < count; ++i) {
      const Place at = place(task / heads, ids[i], task % heads, 0);
      const int64_t offset = i * block_bytes() + task * (keys + values);
      copy(at.keys, offset, static_cast<size_t>(keys));
      copy(at.values, offset + keys, static_cast<size_t>(values));
    }
  });
}

void KVCache::read(const int32_t* ids, int64_t count, uint8_t* to) const {
  each_piece(ids, count, [to](const uint8_t* at, int64_t offset, size_t size) { std::memcpy(to + offset, at, size); });
}
void KVCache::write(const int32_t* ids, int64_t count, const uint8_t* from) {
  each_piece(ids, count, [from](uint8_t* at, int64_t offset, size_t size) { std::memcpy(at, from + offset, size); });
}

}  // namespace ownlm
