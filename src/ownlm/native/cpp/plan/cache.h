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
  // Blocks as bytes [count][layers][heads][keys, values], by several threads.
  void read(const int32_t* ids, int64_t count, uint8_t* to) const;
  void write(const int32_t* ids, int64_t count, const uint8_t* from);
  KvPages pages(int64_t layer) const {
    return {data_ + layer * blocks * block_bytes() / layers, heads, blocks, together, pages_per_block, key_bytes, value_bytes, format, turned};
  }
  int64_t block_bytes() const { return layers * heads * pages_per_block * (key_bytes + value_bytes); }
  int64_t bytes() const { return blocks * block_bytes(); }

  const int64_t layers, blocks, block_size, heads, head_dim;
  const KvFormat format;
  const bool turned;  // what is kept was turned by a Hadamard matrix before: no direction stands out, all lose alike
  const int64_t pages_per_block, together, key_bytes, value_bytes;  // bytes of a page

 private:
  struct Place {
    uint8_t* keys;
    uint8_t* values;
  };
  Place place(int64_t layer, int64_t block, int64_t head, int64_t page_of_block) const {
    const KvPage page = kv_page(pages(layer), block, head, page_of_block);
    return {const_cast<uint8_t*>(page.keys), const_cast<uint8_t*>(page.values)};
  }
  template <class Copy>
  void each_piece(const int32_t* ids, int64_t count, Copy copy) const;
  void store_float(Place page, int64_t at, const float* key, const float* value, bool last);
  void store_bf16(Place page, int64_t at, const float* key, const float* value, bool last);
  void store_int(Place page, int64_t at, const float* key, const float* value, bool last);
  uint8_t* memory_;
  uint8_t* data_;
};

}  // namespace ownlm
