// The same over a cache of 8- or 4-bit numbers, each token and head with a scale for its key and one for its value. Queries
// and weights are rounded to 14 bits, so that what the cache's format costs is all that is lost, and products are whole
// numbers: every instruction set comes to the same sums.
//
// A page holds 16 tokens of one head. All is padded to whole fours (8 bits) or eights of dimensions in keys, 16 or 32 in values.
//   scales  bf16 [16 tokens] of keys, then of values, before the keys
//   8 bits: keys [head_dim/4][16 tokens][4 dimensions] + 128, value = number * scale
//           values [head_dim/16][4][16 dimensions][4 tokens]
//   4 bits: keys [head_dim/8][16 tokens][4], dimensions 8 g + 0..3 in the low and 8 g + 4..7 in the high nibbles
//           values [head_dim/32][4][16][4 tokens], dimensions 32 g + 0..15 in the low and 32 g + 16..31 in the high nibbles;
//           value = (number - 7.5) * scale
#pragma once

namespace ownlm {
namespace {

template <int Bits>
struct IntTerms {
  static constexpr int kTimes = Bits == 8 ? 1 : 2;  // of whole numbers, so that a bias of 7.5 is one
};

// Scores of M rows with one page's keys, [M][16].
template <int Bits, int M>
inline void int_scores(const int32_t* q, int64_t ldq, const uint8_t* keys, int64_t quads, const int32_t* less, const float* factors,
                       const float* scales, float* out, int64_t ldo) {
  for (int part = 0; part < kPerPanel; ++part, keys += 4 * kWidth, scales += kWidth, out += kWidth) {
    Sums first[M], last[M];
    OWNLM_UNROLL for (int m = 0; m < M; ++m) first[m] = last[m] = no_sums();
    if (Bits == 8) {
      for (int64_t i = 0; i < quads; ++i) {
        const Bytes b0 = load_unsigned(keys + i * 4 * kPanel, 0), b1 = load_unsigned(keys + i * 4 * kPanel, 1);
        OWNLM_UNROLL for (int m = 0; m < M; ++m) {
          first[m] = add_unsigned(first[m], b0, q + m * ldq + 2 * i, 0);
          last[m] = add_unsigned(last[m], b1, q + m * ldq + 2 * i, 1);
        }
      }
    } else {
      for (int64_t i = 0; i < quads; i += 2) {
        const uint8_t* at = keys + i * 2 * kPanel;
        const Bytes low0 = load_low(at, 0), low1 = load_low(at, 1), high0 = load_high(at, 0), high1 = load_high(at, 1);
        OWNLM_UNROLL for (int m = 0; m < M; ++m) {
          first[m] = add_unsigned(first[m], low0, q + m * ldq + 2 * i, 0);
          last[m] = add_unsigned(last[m], low1, q + m * ldq + 2 * i, 1);
          first[m] = add_unsigned(first[m], high0, q + m * ldq + 2 * i + 2, 0);
          last[m] = add_unsigned(last[m], high1, q + m * ldq + 2 * i + 2, 1);
        }
      }
    }
    const V scale = load(scales);
    OWNLM_UNROLL for (int m = 0; m < M; ++m)
      store(out + m * ldo, mul(mul(total(first[m], last[m], IntTerms<Bits>::kTimes, less[m]), scale), set1(factors[m])));
  }
}

// Sums of M rows' weights times P panels of values, [M][16 P].
template <int Bits, int M, int P>
inline void int_values(const int32_t* w, int64_t ldw, const KvPage* pages, int64_t count, int64_t offset, const int32_t* less,
                       const float* factors, float* out, int64_t ldo) {
  for (int part = 0; part < kPerPanel; ++part, offset += 4 * kWidth, out += kWidth) {
    Sums first[M][P], last[M][P];
    OWNLM_UNROLL for (int m = 0; m < M; ++m)
      OWNLM_UNROLL for (int p = 0; p < P; ++p) first[m][p] = last[m][p] = no_sums();
    for (int64_t i = 0; i < 4 * count; ++i) {
      const uint8_t* at = pages[i / 4].values + offset + i % 4 * 4 * kPanel;
      Bytes b0[P], b1[P];
      OWNLM_UNROLL for (int p = 0; p < P; ++p) {
        b0[p] = Bits == 8 ? load_signed(at + p * kPage * kPanel, 0) : p ? load_high(at, 0) : load_low(at, 0);
        b1[p] = Bits == 8 ? load_signed(at + p * kPage * kPanel, 1) : p ? load_high(at, 1) : load_low(at, 1);
      }
      OWNLM_UNROLL for (int m = 0; m < M; ++m)
        OWNLM_UNROLL for (int p = 0; p < P; ++p) {
          first[m][p] = add_signed(first[m][p], b0[p], w + m * ldw + 2 * i, 0);
          last[m][p] = add_signed(last[m][p], b1[p], w + m * ldw + 2 * i, 1);
        }
    }
    OWNLM_UNROLL for (int m = 0; m < M; ++m)
      OWNLM_UNROLL for (int p = 0; p < P; ++p)
        store(out + m * ldo + p * kPanel, mul(total(first[m][p], last[m][p], IntTerms<Bits>::kTimes, less[m]), set1(factors[m])));
  }
}

#if OWNLM_QUAD_ROWS > 4
#define OWNLM_INT_CASES OWNLM_CASE(1) OWNLM_CASE(2) OWNLM_CASE(3) OWNLM_CASE(4) OWNLM_CASE(5) OWNLM_CASE(6)
#define OWNLM_INT_MORE OWNLM_CASE(7) OWNLM_CASE(8) OWNLM_CASE(9) OWNLM_CASE(10) OWNLM_CASE(11) OWNLM_CASE(12)
#elif OWNLM_QUAD_ROWS > 2
#define OWNLM_INT_CASES OWNLM_CASE(1) OWNLM_CASE(2)
#define OWNLM_INT_MORE OWNLM_CASE(3) OWNLM_CASE(4)
#else
#define OWNLM_INT_CASES OWNLM_CASE(1)
#define OWNLM_INT_MORE OWNLM_CASE(2)
#endif

// See FloatTile.
template <int Bits>
class IntTile {
 public:
  IntTile(const CachedAttention& a, float* scratch) : d_(a.head_dim), value_bytes_(a.pages.value_bytes), q_(reinterpret_cast<int32_t*>(scratch)) {
    weights_ = q_ + kMaxRows * q_row();
    key_scales_ = reinterpret_cast<float*>(weights_ + kMaxTile * kWeights);
    value_scales_ = key_scales_ + kChunk;
  }
  void set_query(int64_t row, const float* x, float scale) {
    float most = 0;
    for (int64_t i = 0; i < d_; ++i) {
      const float size = x[i] < 0 ? -x[i] : x[i];
      most = size > most || size != size ? size : most;
    }
    const V inverse = set1(most > 0 ? 16255.0f / most : 0.0f);
    V whole = set1(0.0f);
    for (int64_t i = 0; i < 2 * quads(); i += 8) {  // 16 numbers
      V n[kPerPanel];
      OWNLM_UNROLL for (int p = 0; p < kPerPanel; ++p) {
        const int64_t at = 2 * i + p * kWidth, rest = d_ - at;
        n[p] = nearest(mul(load_n(x + (rest > 0 ? at : 0), static_cast<int>(rest < 0 ? 0 : rest < kWidth ? rest : kWidth)), inverse));
        whole = add(whole, n[p]);
      }
      store_numbers<true>(q_ + row * q_row() + i, n);
    }
    less_[row] = static_cast<int32_t>(::ownlm::sum(whole)) * (Bits == 8 ? 128 : 15);
    factors_[row] = most / 16255.0f * scale / IntTerms<Bits>::kTimes;
  }
  void open(const KvPage* pages, int64_t count) {
    pages_ = pages;
    count_ = count;
    for (int64_t i = 0; i < count; ++i) {
      widen(pages[i].keys, key_scales_ + i * kPage);
      widen(pages[i].keys + 2 * kPage, value_scales_ + i * kPage);
    }
  }
  void score(int64_t row0, int64_t rows, float* scores) const {
    for (int64_t i = 0; i < count_; ++i) {
      if (rows < kMaxTile) fetch(pages_[i].values, value_bytes_);
      for (int64_t m = row0; m < row0 + rows; m += OWNLM_QUAD_ROWS) {
        switch (row0 + rows - m < OWNLM_QUAD_ROWS ? row0 + rows - m : OWNLM_QUAD_ROWS) {
#define OWNLM_CASE(M)                                                                                                           \
  case M:                                                                                                                       \
    int_scores<Bits, M>(q_ + m * q_row(), q_row(), pages_[i].keys + kScaleBytes, quads(), less_ + m, factors_ + m, key_scales_ + i * kPage, \
                        scores + (m - row0) * kChunk + i * kPage, kChunk);                                                      \
    break;
          OWNLM_INT_CASES OWNLM_INT_MORE
#undef OWNLM_CASE
        }
      }
    }
  }
  void weigh(int64_t m, float* e, int64_t from, int64_t to) {
    const int64_t first = from / kPage * kPage, last = (to + kPage - 1) / kPage * kPage;
    int32_t* row = weights_ + m * kWeights;
    for (int64_t t = first; t < from; ++t) e[t] = 0.0f;
    for (int64_t t = to; t < last; ++t) e[t] = 0.0f;
    V top = set1(0.0f);
    for (int64_t t = first; t < last; t += kWidth) {
      const V weight = mul(load(e + t), load(value_scales_ + t));
      store(e + t, weight);
      top = vmax(weight, top);
    }
    const float most = maximum(top);
    const V inverse = set1(most > 0 ? 16383.0f / most : 0.0f);
    V whole = set1(0.0f);
    for (int64_t t = first; t < last; t += kPage) {
      V n[kPerPanel];
      OWNLM_UNROLL for (int p = 0; p < kPerPanel; ++p) {
        n[p] = nearest(mul(load(e + t + p * kWidth), inverse));
        whole = add(whole, n[p]);
      }
      store_numbers<false>(row + t / 2, n);
    }
    memset(row, 0, static_cast<size_t>(first) * 2);
    memset(row + last / 2, 0, static_cast<size_t>(count_ * kPage - last) * 2);
    const float all = ::ownlm::sum(whole);  // a NaN where a scale is one, and that the row becomes
    value_less_[m] = Bits == 8 || all != all ? 0 : 15 * static_cast<int32_t>(all);
    value_factors_[m] = most / 16383.0f / IntTerms<Bits>::kTimes + 0.0f * all;
  }
  void sum(int64_t rows, float* sums, int64_t stride) const {
    constexpr int64_t most = OWNLM_QUAD_ROWS / 2;
    const int64_t tiles = (rows + most - 1) / most, each = (rows + tiles - 1) / tiles;
    for (int64_t m = 0; m < rows; m += each) {
      const int64_t count = rows - m < each ? rows - m : each;
      int64_t i = 0;
      for (; i + 2 * kPanel <= width(); i += 2 * kPanel) values<2>(m, count, i, sums, stride);
      if (Bits == 8 && i < width()) values<1>(m, count, i, sums, stride);
    }
  }

 private:
  static constexpr int64_t kWeights = kChunk / 2;  // a quad of weights is two int32
  static constexpr int64_t kScaleBytes = 4 * kPage;
  int64_t quads() const { return (Bits == 8 ? (d_ + 3) / 4 : (d_ + 7) / 8 * 2); }
  int64_t width() const { return Bits == 8 ? padded(d_) : (d_ + 31) / 32 * 32; }
  int64_t q_row() const { return (quads() + 3) / 4 * 8; }
  template <int P>
  void values(int64_t m, int64_t count, int64_t i, float* sums, int64_t stride) const {
    switch (count) {
#define OWNLM_CASE(M)                                                                                                            \
  case M:                                                                                                                        \
    int_values<Bits, M, P>(weights_ + m * kWeights, kWeights, pages_, count_, i * kPage * Bits / 8, value_less_ + m, \
                           value_factors_ + m, sums + m * stride + i, stride);                                                   \
    break;
      OWNLM_INT_CASES
#undef OWNLM_CASE
    }
  }
  static void widen(const uint8_t* bf16, float* to) {
    uint32_t bits[kPage];
    uint16_t half[kPage];
    memcpy(half, bf16, sizeof half);
    for (int64_t i = 0; i < kPage; ++i) bits[i] = static_cast<uint32_t>(half[i]) << 16;
    memcpy(to, bits, sizeof bits);
  }
  int64_t d_, value_bytes_, count_ = 0;
  const KvPage* pages_ = nullptr;
  int32_t* q_;
  int32_t* weights_;
  float* key_scales_;
  float* value_scales_;
  int32_t less_[kMaxRows], value_less_[kMaxTile];
  float factors_[kMaxRows], value_factors_[kMaxTile];
};

}  // namespace
}  // namespace ownlm
