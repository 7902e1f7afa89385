// Keys and values of all tokens, in pages of 16 (isa/paged_attention.h says how a page is laid out).
#pragma once
#include <cstdint>

#include "../decoder_kernels.h"

namespace ownlm {

class KVCache {
 public:
  KVCache(int64_t layers, int64_t blocks, int64_t block_size, int64_t heads, int64_t head_dim, bool floats);
  ~KVCache();
  KVCache(const KVCache&) = delete;
  KVCache& operator=(const KVCache&) = delete;

  // The keys and values [head_dim] of one token and head. `last`: no later token is in its page; the rest is cleared, for it
  // is read (with weight 0) and may hold what is no number.
  void store(int64_t layer, int64_t slot, int64_t head, const float* key, const float* value, bool last);
  void copy_block(int64_t from, int64_t to);  // in every layer
  uint8_t* pages(int64_t layer, int64_t block, int64_t head) const {
    return data_ + ((layer * blocks + block) * heads + head) * pages_per_block * page_bytes;
  }
  int64_t bytes() const { return layers * blocks * heads * pages_per_block * page_bytes; }

  const int64_t layers, blocks, block_size, heads, head_dim;
  const bool floats;
  const int64_t pages_per_block, value_offset, page_bytes;

 private:
  uint8_t* memory_;
  uint8_t* data_;
};

}  // namespace ownlm
