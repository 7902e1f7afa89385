// Attention over a paged cache (Kwon et al., "PagedAttention", 2023), chunk by chunk with a running softmax (Dao et al.,
// "FlashAttention", 2022). Chunks lie at fixed positions and are merged in order, so a row's result does not depend on the
// rows beside it, on how a prompt was cut, or on how chunks were shared out among threads.
//
// A task's rows go through a chunk together, in tiles of kMaxTile that the registers hold: the chunk stays in the cache.
#pragma once

namespace ownlm {
namespace {

// Asks for values while keys are multiplied: they are read in another order than they lie, which a processor does not foresee.
inline void fetch(const uint8_t* at, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) OWNLM_PREFETCH(at + i);
}

}  // namespace
}  // namespace ownlm

#include "paged_float.h"
#include "paged_int.h"

namespace ownlm {
namespace {

constexpr float kNone = -1.0e30f;  // the peak of a row that has seen no key yet

// Scores of one row, of which [from, to) count, become exp2(score - peak) in whole pages.
inline void softmax_row(float* scores, int64_t from, int64_t to, float cap, float* peak, float* total) {
  const int64_t first = from / kPage * kPage, last = (to + kPage - 1) / kPage * kPage;
  if (cap > 0)
    for (int64_t t = first; t < last; t += kWidth)
      store(scores + t, mul(tanh_(load(scores + t)), set1(cap * 1.4426950408889634f)));
  for (int64_t t = first; t < from; ++t) scores[t] = -3.0e38f;
  for (int64_t t = to; t < last; ++t) scores[t] = -3.0e38f;
  V top = load(scores + first);
  for (int64_t t = first + kWidth; t < last; t += kWidth) top = vmax(top, load(scores + t));
  *peak = maximum(top);
  const V most = set1(*peak);
  V sums = set1(0.0f);
  for (int64_t t = first; t < last; t += kWidth) {
    const V e = exp2_nonpositive(sub(load(scores + t), most));
    sums = add(sums, e);  // a masked key's 2^-126 is lost in a sum of at least 1
    store(scores + t, e);
  }
  *total = sum(sums);
}

inline void attention_merge(int64_t rows, int64_t head_dim, float* state, const float* next) {
  const int64_t values = padded(head_dim), stride = attention_state(1, head_dim);
  for (int64_t m = 0; m < rows; ++m, state += stride, next += stride) {
    const float before = state[0], after = next[0], peak = before > after ? before : after;
    float factors[kWidth];
    store(factors, exp2_nonpositive(set1(before - peak)));
    const float keep = factors[0];
    store(factors, exp2_nonpositive(set1(after - peak)));
    const float take = factors[0];
    state[0] = peak;
    state[1] = state[1] * keep + next[1] * take;
    for (int64_t i = kStateHead; i < kStateHead + values; i += kWidth)
      store(state + i, fma(load(next + i), set1(take), mul(load(state + i), set1(keep))));
  }
}

template <class Tile>
inline void chunks(const CachedAttention& a, int64_t row0, int64_t rows, int64_t chunk0, int64_t chunk1, float* state, float* scratch) {
  const int64_t d = a.head_dim, stride = attention_state(1, d);
  float* scores = scratch;
  float* part = scores + kMaxTile * kChunk;
  Tile tile(a, part + kMaxTile * stride);
  const float scale = a.softcap > 0 ? a.scale / a.softcap : a.scale * 1.4426950408889634f;
  for (int64_t m = 0; m < rows; ++m)
    tile.set_query(m, a.q + (row0 + m) / a.group * a.q_stride + (row0 + m) % a.group * d, scale);
  for (int64_t chunk = chunk0; chunk < chunk1; ++chunk) {
    for (int64_t r = 0; r < rows; r += kMaxTile) {
      const int64_t count = rows - r < kMaxTile ? rows - r : kMaxTile;
      const int64_t oldest = a.position + (row0 + r) / a.group, newest = a.position + (row0 + r + count - 1) / a.group;
      const int64_t seen = a.window && oldest + 1 > a.window ? oldest + 1 - a.window : 0;  // the first key that any row sees
      const int64_t key0 = (chunk * kChunk > seen ? chunk * kChunk : seen) / kPage * kPage;
      const int64_t key1 = (chunk + 1) * kChunk < newest + 1 ? (chunk + 1) * kChunk : newest + 1;
      if (key1 <= key0 && chunk > chunk0) continue;  // to merge nothing changes nothing
      const int64_t pages = key1 > key0 ? (key1 - key0 + kPage - 1) / kPage : 0;
      KvPage at[kChunk / kPage];
      for (int64_t i = 0; i < pages; ++i) {
        const int64_t page = key0 / kPage + i;
        at[i] = kv_page(a.pages, a.blocks[page / a.pages.pages_per_block], a.kv_head, page % a.pages.pages_per_block);
      }
      tile.open(at, pages);
      tile.score(r, count, scores);
      float* to = chunk == chunk0 ? state + r * stride : part;
      for (int64_t m = 0; m < count; ++m) {
        const int64_t own = a.position + (row0 + r + m) / a.group, start = a.window && own + 1 > a.window ? own + 1 - a.window : 0;
        const int64_t first = start > key0 ? start - key0 : 0, last = own + 1 < key1 ? own + 1 - key0 : key1 - key0;
        float* row = to + m * stride;
        if (first < last) {
          softmax_row(scores + m * kChunk, first, last, a.softcap, row, row + 1);
          tile.weigh(m, scores + m * kChunk, first, last);
        } else {
          row[0] = kNone;
          row[1] = 0.0f;
          tile.weigh(m, scores + m * kChunk, 0, 0);
        }
      }
      tile.sum(count, to + kStateHead, stride);
      if (to == part) attention_merge(count, d, state + r * stride, part);
    }
  }
}

inline void attention_chunks(const CachedAttention& a, int64_t row0, int64_t rows, int64_t chunk0, int64_t chunk1, float* state, float* scratch) {
  switch (a.pages.format) {
    case KvFormat::f32: return chunks<FloatTile<FloatCell>>(a, row0, rows, chunk0, chunk1, state, scratch);
    case KvFormat::bf16: return chunks<FloatTile<FastCell>>(a, row0, rows, chunk0, chunk1, state, scratch);
    case KvFormat::int8: return chunks<IntTile<8>>(a, row0, rows, chunk0, chunk1, state, scratch);
    case KvFormat::int4: return chunks<IntTile<4>>(a, row0, rows, chunk0, chunk1, state, scratch);
  }
}

// Divides by the totals. A sink is one more score that takes weight and gives no value (Xiao et al., 2023; gpt-oss).
inline void attention_finish(const CachedAttention& a, int64_t row0, int64_t rows, const float* state, const float* sinks, float* out,
                             int64_t out_stride) {
  for (int64_t m = 0; m < rows; ++m, state += attention_state(1, a.head_dim)) {
    const int64_t head = (row0 + m) % a.group;
    float factor = 1.0f / state[1];
    if (sinks) {
      const float sink = sinks[head] * 1.4426950408889634f, peak = sink > state[0] ? sink : state[0];
      const float keep = exp2f(state[0] - peak);
      factor = keep / (state[1] * keep + exp2f(sink - peak));
    }
    const float* from = state + kStateHead;
    float* to = out + (row0 + m) / a.group * out_stride + head * a.head_dim;
    for (int64_t i = 0; i < a.head_dim; i += kWidth)
      store_n(to + i, mul(load(from + i), set1(factor)), static_cast<int>(a.head_dim - i < kWidth ? a.head_dim - i : kWidth));
    if (a.pages.turned) hadamard(to, 1, a.head_dim);  // its own inverse
  }
}

}  // namespace
}  // namespace ownlm

#define OWNLM_DECODER_KERNELS                                                                                                  \
  {rms_norm, rotate, hadamard, attention_chunks, attention_merge, attention_finish, scale_add, softcap, row_maximum, sum_exp, \
   next_above}
