#include "cache.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "../pool.h"

namespace ownlm {
namespace {

uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);  // a NaN stays one
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

int64_t element(KvFormat format) { return format == KvFormat::f32 ? 4 : 2; }

}  // namespace

KVCache::KVCache(int64_t layers_, int64_t blocks_, int64_t block_size_, int64_t heads_, int64_t head_dim_, KvFormat format_)
    : layers(layers_), blocks(blocks_), block_size(block_size_), heads(heads_), head_dim(head_dim_), format(format_),
      pages_per_block(block_size_ / kPage), value_offset(head_dim_ * kPage * element(format_)),
      page_bytes(value_offset + padded(head_dim_) * kPage * element(format_)) {
  // calloc: pages that no token has touched take no memory
  memory_ = static_cast<uint8_t*>(std::calloc(static_cast<size_t>(bytes()) + kAlign, 1));
  if (!memory_) throw std::bad_alloc();
  data_ = memory_ + (kAlign - reinterpret_cast<uintptr_t>(memory_) % kAlign) % kAlign;
}

KVCache::~KVCache() { std::free(memory_); }

void KVCache::copy_block(int64_t from, int64_t to) {
  if (from == to) return;
  for (int64_t layer = 0; layer < layers; ++layer)
    for (int64_t head = 0; head < heads; ++head)
      std::memcpy(pages(layer, to, head), pages(layer, from, head), static_cast<size_t>(piece_bytes()));
}

void KVCache::read(const int32_t* ids, int64_t count, uint8_t* to) const {
  pool::run(layers * heads, 0, true, [&](int64_t task, int, void*) {
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(to + i * block_bytes() + task * piece_bytes(), pages(task / heads, ids[i], task % heads), static_cast<size_t>(piece_bytes()));
  });
}

void KVCache::write(const int32_t* ids, int64_t count, const uint8_t* from) {
  pool::run(layers * heads, 0, true, [&](int64_t task, int, void*) {
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(pages(task / heads, ids[i], task % heads), from + i * block_bytes() + task * piece_bytes(), static_cast<size_t>(piece_bytes()));
  });
}

void KVCache::store(int64_t layer, int64_t slot, int64_t head, const float* key, const float* value, bool last) {
  const int64_t at = slot % kPage;
  uint8_t* page = pages(layer, slot / block_size, head) + slot % block_size / kPage * page_bytes;
  const int64_t width = padded(head_dim);
  if (format == KvFormat::f32) {
    float* k = reinterpret_cast<float*>(page) + at;
    for (int64_t i = 0; i < head_dim; ++i) k[i * kPage] = key[i];
    float* v = reinterpret_cast<float*>(page + value_offset);
    for (int64_t i = 0; i < width; i += kPanel) {
      float* to = v + i * kPage + at * kPanel;  // [head_dim/16][16 tokens][16]
      for (int64_t j = 0; j < kPanel; ++j) to[j] = i + j < head_dim ? value[i + j] : 0.0f;
      if (last) std::memset(to + kPanel, 0, static_cast<size_t>(kPage - 1 - at) * kPanel * sizeof(float));
    }
    return;
  }
  uint16_t* k = reinterpret_cast<uint16_t*>(page) + at * 2;
  for (int64_t i = 0; i < head_dim; ++i) k[i / 2 * kPage * 2 + i % 2] = to_bf16(key[i]);
  uint16_t* v = reinterpret_cast<uint16_t*>(page + value_offset);
  for (int64_t i = 0; i < width; i += kPanel) {
    uint16_t* to = v + i * kPage + at / 2 * (2 * kPanel) + at % 2;  // [head_dim/16][8 pairs of tokens][16][2]
    for (int64_t j = 0; j < kPanel; ++j) to[2 * j] = i + j < head_dim ? to_bf16(value[i + j]) : uint16_t{0};
    if (!last) continue;
    if (at % 2 == 0)
      for (int64_t j = 0; j < kPanel; ++j) to[2 * j + 1] = 0;
    uint16_t* rest = v + i * kPage + (at / 2 + 1) * (2 * kPanel);
    std::memset(rest, 0, static_cast<size_t>(kPage / 2 - 1 - at / 2) * 2 * kPanel * sizeof(uint16_t));
  }
}

}  // namespace ownlm
