// Attention over a paged cache (Kwon et al., "PagedAttention", 2023), chunk by chunk with a running softmax (Dao et al.,
// "FlashAttention", 2022). Chunks lie at fixed positions and are merged in order, so a row's result does not depend on the
// rows beside it, on how a prompt was cut, or on how chunks were shared out among threads.
//
// A page holds 16 tokens of one head: keys [words][16 tokens], values [head_dim/16][words of 16 tokens][16]. A word is a
// float, or a pair of bfloat16 (of neighbouring dimensions in keys, of neighbouring tokens in values).
#pragma once

namespace ownlm {
namespace {

struct FloatCell {
  using A = float;
  using B = float;
  static constexpr int64_t kInWord = 1, kParts = 1;  // cached values in a word; A's in a word
  static V step(const A* a, const B* b, V acc) { return fma(set1(a[0]), load(b), acc); }
};

struct PairCell {
  using A = float;
  using B = int32_t;
  static constexpr int64_t kInWord = 2, kParts = 2;
  static V step(const A* a, const B* b, V acc) { return fma(set1(a[1]), load_odd(b), fma(set1(a[0]), load_even(b), acc)); }
};

template <class Cell>
inline void set_row(const float* x, int64_t d, float scale, typename Cell::A* to) {
  for (int64_t i = 0; i < d; ++i) to[i] = x[i] * scale;
}
template <class Cell>
inline void set_weights(V v, typename Cell::A* row, int64_t t) { store(row + t, v); }
template <class Cell>
inline void clear_weights(typename Cell::A* row, int64_t t0, int64_t t1) {
  for (int64_t t = t0; t < t1; ++t) row[t] = 0.0f;
}

#ifdef OWNLM_BF16_PRODUCTS
// Queries and weights rounded to bfloat16 too: vdpbf16ps multiplies pairs.
struct Bf16Cell {
  using A = int32_t;
  using B = int32_t;
  static constexpr int64_t kInWord = 2, kParts = 1;
  static V step(const A* a, const B* b, V acc) { return dot_pairs(acc, a[0], _mm512_loadu_si512(b)); }
};
template <>
inline void set_row<Bf16Cell>(const float* x, int64_t d, float scale, int32_t* to) { row_to_bf16(x, d, scale, to); }
template <>
inline void set_weights<Bf16Cell>(V v, int32_t* row, int64_t t) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(reinterpret_cast<uint16_t*>(row) + t), to_bf16(v));
}
template <>
inline void clear_weights<Bf16Cell>(int32_t* row, int64_t t0, int64_t t1) {
  for (int64_t t = t0; t < t1; ++t) reinterpret_cast<uint16_t*>(row)[t] = 0;
}
using FastCell = Bf16Cell;
#else
using FastCell = PairCell;
#endif

// c [M][16 P] = a times panels of b that come in segments: word w of panel p in segment s is segments[s] + p stride + 16 w.
template <class Cell, int M, int P>
inline void segments_tile(const typename Cell::A* a, int64_t lda, const typename Cell::B* const* segments, int64_t count, int64_t words,
                          int64_t shift, int64_t stride, float* c, int64_t ldc) {
  constexpr int N = P * kPerPanel;
  V acc[M][N];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < N; ++n) acc[m][n] = set1(0.0f);
  for (int64_t s = 0; s < count; ++s) {
    const typename Cell::B* b = segments[s] + shift;
    const typename Cell::A* at = a + s * words * Cell::kParts;
    for (int64_t w = 0; w < words; ++w, b += kPanel, at += Cell::kParts)
      OWNLM_UNROLL for (int m = 0; m < M; ++m)
        OWNLM_UNROLL for (int n = 0; n < N; ++n)
          acc[m][n] = Cell::step(at + m * lda, b + (n / kPerPanel) * stride + (n % kPerPanel) * kWidth, acc[m][n]);
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < N; ++n) store(c + m * ldc + n * kWidth, acc[m][n]);
}

template <class Cell, int P>
inline void segments_rows(int64_t rows, const typename Cell::A* a, int64_t lda, const typename Cell::B* const* segments, int64_t count,
                          int64_t words, int64_t shift, int64_t stride, float* c, int64_t ldc) {
  for (int64_t m = 0; m < rows; m += OWNLM_TILE_ROWS) {
    switch (rows - m < OWNLM_TILE_ROWS ? rows - m : OWNLM_TILE_ROWS) {
#define OWNLM_CASE(M) case M: segments_tile<Cell, M, P>(a + m * lda, lda, segments, count, words, shift, stride, c + m * ldc, ldc); break;
      OWNLM_CASE(1) OWNLM_CASE(2)
#if OWNLM_TILE_ROWS > 2
      OWNLM_CASE(3) OWNLM_CASE(4) OWNLM_CASE(5) OWNLM_CASE(6)
#endif
#if OWNLM_TILE_ROWS > 6
      OWNLM_CASE(7) OWNLM_CASE(8) OWNLM_CASE(9) OWNLM_CASE(10) OWNLM_CASE(11) OWNLM_CASE(12)
#endif
#undef OWNLM_CASE
    }
  }
}

constexpr float kNone = -1.0e30f;  // the peak of a row that has seen no key yet

// Scores of one row for keys of which [from, to) count: weights exp2(score - peak), peak and total.
template <class Cell>
inline void softmax_row(float* scores, int64_t from, int64_t to, int64_t keys, float cap, typename Cell::A* weights, float* peak, float* total) {
  if (from >= to) {
    clear_weights<Cell>(weights, 0, keys);
    *peak = kNone;
    *total = 0.0f;
    return;
  }
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
    set_weights<Cell>(e, weights, t);
  }
  *total = sum(sums);
  clear_weights<Cell>(weights, 0, from);
  clear_weights<Cell>(weights, to, keys);
}

inline void attention_merge(int64_t rows, int64_t head_dim, float* state, const float* next) {
  const int64_t values = padded(head_dim);
  for (int64_t m = 0; m < rows; ++m) {
    const float before = state[m], after = next[m], peak = before > after ? before : after;
    float factors[kWidth];
    store(factors, exp2_nonpositive(set1(before - peak)));
    const float keep = factors[0];
    store(factors, exp2_nonpositive(set1(after - peak)));
    const float take = factors[0];
    state[m] = peak;
    state[rows + m] = state[rows + m] * keep + next[rows + m] * take;
    float* to = state + 2 * rows + m * values;
    const float* from = next + 2 * rows + m * values;
    for (int64_t i = 0; i < values; i += kWidth)
      store(to + i, fma(load(from + i), set1(take), mul(load(to + i), set1(keep))));
  }
}

template <class Cell>
inline void chunks(const CachedAttention& a, int64_t row0, int64_t rows, int64_t chunk0, int64_t chunk1, float* state, float* scratch) {
  using A = typename Cell::A;
  using B = typename Cell::B;
  const int64_t d = a.head_dim, values = padded(d), words = d / Cell::kInWord, page_words = kPage / Cell::kInWord;
  const int64_t q_row = values / Cell::kInWord * Cell::kParts, w_row = kChunk / Cell::kInWord * Cell::kParts;
  A* q = reinterpret_cast<A*>(scratch);
  A* weights = q + kMaxTile * q_row;
  float* scores = reinterpret_cast<float*>(weights + kMaxTile * w_row);
  float* part = scores + kMaxTile * kChunk;
  const float scale = a.softcap > 0 ? a.scale / a.softcap : a.scale * 1.4426950408889634f;
  for (int64_t m = 0; m < rows; ++m)
    set_row<Cell>(a.q + (row0 + m) / a.group * a.q_stride + (row0 + m) % a.group * d, d, scale, q + m * q_row);
  const int64_t oldest = a.position + row0 / a.group, newest = a.position + (row0 + rows - 1) / a.group;
  for (int64_t chunk = chunk0; chunk < chunk1; ++chunk) {
    const int64_t seen = a.window && oldest + 1 > a.window ? oldest + 1 - a.window : 0;  // the first key that any row sees
    const int64_t key0 = (chunk * kChunk > seen ? chunk * kChunk : seen) / kPage * kPage;
    const int64_t key1 = (chunk + 1) * kChunk < newest + 1 ? (chunk + 1) * kChunk : newest + 1;
    const int64_t pages = key1 > key0 ? (key1 - key0 + kPage - 1) / kPage : 0, keys = pages * kPage;
    const B* k[kChunk / kPage];
    const B* v[kChunk / kPage];
    for (int64_t i = 0; i < pages; ++i) {
      const int64_t page = key0 / kPage + i;
      const uint8_t* at = a.pages + a.blocks[page / a.pages_per_block] * a.block_bytes + page % a.pages_per_block * a.page_bytes;
      k[i] = reinterpret_cast<const B*>(at);
      v[i] = reinterpret_cast<const B*>(at + a.value_offset);
    }
    int64_t i = 0;
    if (OWNLM_TILE_PANELS == 2)
      for (; i + 2 <= pages; i += 2)
        segments_rows<Cell, OWNLM_TILE_PANELS>(rows, q, q_row, k + i, 1, words, 0, k[i + 1] - k[i], scores + i * kPage, kChunk);
    for (; i < pages; ++i) segments_rows<Cell, 1>(rows, q, q_row, k + i, 1, words, 0, 0, scores + i * kPage, kChunk);
    float* to = chunk == chunk0 ? state : part;
    for (int64_t m = 0; m < rows; ++m) {
      const int64_t own = a.position + (row0 + m) / a.group, start = a.window && own + 1 > a.window ? own + 1 - a.window : 0;
      softmax_row<Cell>(scores + m * kChunk, start > key0 ? start - key0 : 0, own + 1 < key1 ? own + 1 - key0 : key1 - key0, keys,
                        a.softcap, weights + m * w_row, to + m, to + rows + m);
    }
    float* sums = to + 2 * rows;
    i = 0;
    if (OWNLM_TILE_PANELS == 2)
      for (; i + 2 * kPanel <= values; i += 2 * kPanel)
        segments_rows<Cell, OWNLM_TILE_PANELS>(rows, weights, w_row, v, pages, page_words, i * page_words, page_words * kPanel, sums + i, values);
    for (; i < values; i += kPanel) segments_rows<Cell, 1>(rows, weights, w_row, v, pages, page_words, i * page_words, 0, sums + i, values);
    if (to == part) attention_merge(rows, d, state, part);
  }
}

inline void attention_chunks(const CachedAttention& a, int64_t row0, int64_t rows, int64_t chunk0, int64_t chunk1, float* state, float* scratch) {
  (a.format == KvFormat::f32 ? chunks<FloatCell> : chunks<FastCell>)(a, row0, rows, chunk0, chunk1, state, scratch);
}

// Divides by the totals. A sink is one more score that takes weight and gives no value (Xiao et al., 2023; gpt-oss).
inline void attention_finish(const CachedAttention& a, int64_t row0, int64_t rows, const float* state, const float* sinks, float* out,
                             int64_t out_stride) {
  const int64_t values = padded(a.head_dim);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t head = (row0 + m) % a.group;
    float factor = 1.0f / state[rows + m];
    if (sinks) {
      const float sink = sinks[head] * 1.4426950408889634f, peak = sink > state[m] ? sink : state[m];
      const float keep = exp2f(state[m] - peak);
      factor = keep / (state[rows + m] * keep + exp2f(sink - peak));
    }
    const float* from = state + 2 * rows + m * values;
    float* to = out + (row0 + m) / a.group * out_stride + head * a.head_dim;
    for (int64_t i = 0; i < a.head_dim; i += kWidth)
      store_n(to + i, mul(load(from + i), set1(factor)), static_cast<int>(a.head_dim - i < kWidth ? a.head_dim - i : kWidth));
  }
}

}  // namespace
}  // namespace ownlm

#define OWNLM_DECODER_KERNELS                                                                                              \
  {rms_norm, rotate, attention_chunks, attention_merge, attention_finish, scale_add, softcap, row_maximum, sum_exp,   \
   next_above}
