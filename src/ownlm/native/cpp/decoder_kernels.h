// What a decoder needs beside linear layers, each for one task in one thread; every instruction set fills the table.
// Plain data and declarations only, as in kernels.h.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace ownlm {

enum class KvFormat : int { f32, bf16 };

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

// Queries of the heads that share one key-value head, over one sequence's cache. Row r is token r / group, head r % group.
struct CachedAttention {
  const float* q;         // token 0, first head of the group
  int64_t q_stride;       // floats from token to token
  int64_t group, head_dim;
  int64_t position;       // of token 0 in the cache: it sees keys 0 .. position
  int64_t window;         // how many keys a token sees, itself included; 0: all
  const uint8_t* pages;   // keys then values of page 0 of block 0, of this layer and head
  const int32_t* blocks;  // the sequence's block table
  int64_t pages_per_block, page_bytes, block_bytes, value_offset;  // value_offset: bytes from a page's keys to its values
  KvFormat format;
  float scale, softcap;   // softcap 0: none
};

// Rows of unfinished attention: peak [rows], total [rows], sums [rows][padded(head_dim)]; in powers of two.
static constexpr int64_t attention_state(int64_t rows, int64_t head_dim) { return rows * (2 + padded(head_dim)); }
static constexpr int64_t cached_attention_scratch(int64_t head_dim) {
  return kMaxTile * (padded(head_dim) + 2 * kChunk) + attention_state(kMaxTile, head_dim) + 64;
}

struct DecoderKernels {
  void (*rms_norm)(const RmsNorm&, int64_t row0, int64_t row1);
  void (*rotate)(float* x, const float* cosine, const float* sine, int64_t half);  // (a, b) by an angle, for pairs (i, i + half)
  // Rows row0 .. row0 + rows (at most kMaxTile) against chunks chunk0 .. chunk1 of keys, into state.
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
