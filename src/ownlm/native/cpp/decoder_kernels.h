// What a decoder needs beside linear layers, each for one task in one thread; every instruction set fills the table.
// Plain data and declarations only, as in kernels.h.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace ownlm {

enum class KvFormat : int { f32, bf16, int8, int4 };

constexpr int64_t kPage = 16;    // tokens whose keys, and whose values, lie together in the cache
constexpr int64_t kChunk = 256;  // keys whose softmax is taken at once; partial results of chunks are merged in order

// out = x / rms(x) * (weight + offset) + residual, row by row; strides in floats.
struct RmsNorm {
  const float* x;
  int64_t x_stride;
  const float* weight;
  const float* residual;  // may be null; laid out as out
  float* out;
  int64_t out_stride, width;
  float eps, offset;
};

// One layer's keys and values in the cache. Blocks lie in groups of `together`, the last of which may be smaller; in a group
// each head has the keys of all its blocks in a row, then their values, so that attention reads memory in long runs.
struct KvPages {
  const uint8_t* layer;
  int64_t heads, blocks, together, pages_per_block, key_bytes, value_bytes;  // bytes of a page
  KvFormat format;
  bool turned;  // queries, keys and values were turned by a Hadamard matrix, and results have to be turned back
};
struct KvPage {
  const uint8_t* keys;
  const uint8_t* values;
};
static inline KvPage kv_page(const KvPages& p, int64_t block, int64_t head, int64_t page_of_block) {
  const int64_t first = block / p.together * p.together, count = p.blocks - first < p.together ? p.blocks - first : p.together;
  const int64_t page = (block - first) * p.pages_per_block + page_of_block, pages = count * p.pages_per_block;
  const uint8_t* base = p.layer + (first * p.heads + head * count) * p.pages_per_block * (p.key_bytes + p.value_bytes);
  return {base + page * p.key_bytes, base + pages * p.key_bytes + page * p.value_bytes};
}

// Queries of the heads that share one key-value head, over one sequence's cache. Row r is token r / group, head r % group.
struct CachedAttention {
  const float* q;         // token 0, first head of the group
  int64_t q_stride;       // floats from token to token
  int64_t group, head_dim;
  int64_t position;       // of token 0 in the cache: it sees keys 0 .. position
  int64_t window;         // how many keys a token sees, itself included; 0: all
  KvPages pages;
  int64_t kv_head;
  const int32_t* blocks;  // the sequence's block table
  float scale, softcap;   // softcap 0: none
};

constexpr int64_t kMaxRows = 48;    // of a task of attention: several tiles, which read a chunk of keys one after the other
constexpr int64_t kStateHead = 16;  // floats
// Rows of unfinished attention, each its peak and total in kStateHead floats and its sums, in powers of two; then as many
// floats as fill whole cache lines.
static constexpr int64_t attention_state(int64_t rows, int64_t head_dim) { return rows * (kStateHead + (head_dim + 31) / 32 * 32); }
static constexpr int64_t cached_attention_scratch(int64_t head_dim) {
  return kMaxRows * padded(head_dim) + kMaxTile * 2 * kChunk + 2 * kChunk + attention_state(kMaxTile, head_dim) + 64;
}

struct DecoderKernels {
  void (*rms_norm)(const RmsNorm&, int64_t row0, int64_t row1);
  void (*rotate)(float* x, const float* cosine, const float* sine, int64_t half);  // (a, b) by an angle, for pairs (i, i + half)
  // Each of `count` heads at x, head_dim floats, times an orthonormal Hadamard matrix, which is its own inverse; of a head_dim
  // that is no power of two, blocks of the largest power that divides it.
  void (*hadamard)(float* x, int64_t count, int64_t head_dim);
  // Rows row0 .. row0 + rows (at most kMaxRows) against chunks chunk0 .. chunk1 of keys, into state.
  void (*attention_chunks)(const CachedAttention&, int64_t row0, int64_t rows, int64_t chunk0, int64_t chunk1, float* state, float* scratch);
  void (*attention_merge)(int64_t rows, int64_t head_dim, float* state, const float* next);
  // sinks [group] or null; out: token 0, first head of the group
  void (*attention_finish)(const CachedAttention&, int64_t row0, int64_t rows, const float* state, const float* sinks, float* out, int64_t out_stride);
  void (*scale_add)(const float* x, float scale, int64_t count, float* out);     // out += scale * x
  void (*softcap)(float* x, int64_t count, float scale, float cap);              // cap tanh(scale x / cap); cap 0: scale x
  float (*maximum)(const float* x, int64_t count);
  double (*sum_exp)(const float* x, int64_t count, float scale, float peak);     // sum of exp(scale (x - peak))
  int64_t (*next_above)(const float* x, int64_t from, int64_t count, float bound);  // first index >= from with x > bound, else count
};

}  // namespace ownlm
