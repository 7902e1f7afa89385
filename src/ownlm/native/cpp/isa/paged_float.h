// Products of queries with keys, and of weights with values, over a cache of floats or bfloat16.
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

// What a tile of rows keeps in scratch: queries in the terms of the cells, and of a chunk the weights.
template <class Cell>
class FloatTile {
 public:
  using A = typename Cell::A;
  using B = typename Cell::B;
  FloatTile(const CachedAttention& a, float* scratch)
      : d_(a.head_dim), value_bytes_(a.pages.value_bytes), values_(padded(a.head_dim)), q_(reinterpret_cast<A*>(scratch)) {
    weights_ = q_ + kMaxRows * q_row();
  }
  void set_query(int64_t row, const float* x, float scale) { set_row<Cell>(x, d_, scale, q_ + row * q_row()); }
  void open(const KvPage* pages, int64_t count) {
    count_ = count;
    for (int64_t i = 0; i < count; ++i) {
      k_[i] = reinterpret_cast<const B*>(pages[i].keys);
      v_[i] = reinterpret_cast<const B*>(pages[i].values);
    }
  }
  // scores [rows][kChunk] of rows from row0 with the keys of the pages
  void score(int64_t row0, int64_t rows, float* scores) const {
    const A* q = q_ + row0 * q_row();
    const int64_t words = d_ / Cell::kInWord;
    int64_t i = 0;
    if (OWNLM_TILE_PANELS == 2)
      for (; i + 2 <= count_; i += 2) {
        if (rows < kMaxTile)
          for (int64_t j = i; j < i + 2; ++j) fetch(reinterpret_cast<const uint8_t*>(v_[j]), value_bytes_);
        segments_rows<Cell, OWNLM_TILE_PANELS>(rows, q, q_row(), k_ + i, 1, words, 0, k_[i + 1] - k_[i], scores + i * kPage, kChunk);
      }
    for (; i < count_; ++i) segments_rows<Cell, 1>(rows, q, q_row(), k_ + i, 1, words, 0, 0, scores + i * kPage, kChunk);
  }
  // exponentials of one row, of which [from, to) count, become its weights
  void weigh(int64_t m, float* e, int64_t from, int64_t to) {
    A* row = weights_ + m * kWeights;
    for (int64_t t = from / kPage * kPage; t < to; t += kWidth) set_weights<Cell>(load(e + t), row, t);
    clear_weights<Cell>(row, 0, from);
    clear_weights<Cell>(row, to, count_ * kPage);
  }
  void sum(int64_t rows, float* sums, int64_t stride) const {
    const int64_t words = kPage / Cell::kInWord;
    int64_t i = 0;
    if (OWNLM_TILE_PANELS == 2)
      for (; i + 2 * kPanel <= values_; i += 2 * kPanel)
        segments_rows<Cell, OWNLM_TILE_PANELS>(rows, weights_, kWeights, v_, count_, words, i * words, words * kPanel, sums + i, stride);
    for (; i < values_; i += kPanel) segments_rows<Cell, 1>(rows, weights_, kWeights, v_, count_, words, i * words, 0, sums + i, stride);
  }

 private:
  static constexpr int64_t kWeights = kChunk / Cell::kInWord * Cell::kParts;
  int64_t q_row() const { return values_ / Cell::kInWord * Cell::kParts; }
  int64_t d_, value_bytes_, values_, count_ = 0;
  A* q_;
  A* weights_;
  const B* k_[kChunk / kPage];
  const B* v_[kChunk / kPage];
};

}  // namespace
}  // namespace ownlm
