// Keys and values of all tokens, in pages of 16 (isa/paged_attention.h says how a page is laid out).
#pragma once
#include <cstdint>

#include "../decoder_kernels.h"

namespace ownlm {

class KVCache {
 public:
  KVCache(int64_t layers, int64_t blocks, int64_t block_size, int64_t heads, int64_t head_dim, KvFormat format);
  ~KVCache();
  KVCache(const KVCache&) = delete;
  KVCache& operator=(const KVCache&) = delete;

  // The keys and values [head_dim] of one token and head. `last`: no later token is in its page; the rest is cleared, for it
  // is read (with weight 0) and may hold what is no number.
  void store(int64_t layer, int64_t slot, int64_t head, const float* key, const float* value, bool last);
  void copy_block(int64_t from, int64_t to);  // in every layer
  // Blocks as bytes [count][layers][heads][piece_bytes()], by several threads.
  void read(const int32_t* ids, int64_t count, uint8_t* to) const;
  void write(const int32_t* ids, int64_t count, const uint8_t* from);
  // A head's blocks lie one after the other: attention reads a text's keys and values mostly in a row.
  uint8_t* pages(int64_t layer, int64_t block, int64_t head) const {
    return data_ + ((layer * heads + head) * blocks + block) * piece_bytes();
  }
  int64_t piece_bytes() const { return pages_per_block * page_bytes; }  // of a block, for one layer and head
  int64_t block_bytes() const { return layers * heads * piece_bytes(); }
  int64_t bytes() const { return blocks * block_bytes(); }

  const int64_t layers, blocks, block_size, heads, head_dim;
  const KvFormat format;
  const int64_t pages_per_block, value_offset, page_bytes;

 private:
  uint8_t* memory_;
  uint8_t* data_;
};

}  // namespace ownlm
