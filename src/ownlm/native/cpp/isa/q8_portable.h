// Q8_0 products in plain C++. A group's 32 products are whole numbers that sum to at most 32 * 128 * 127 < 2^24, so float
// adds them exactly, in any order.
#pragma once

namespace ownlm {
namespace {

// c[m] += (sum over a group of a[m] w) * scales * t[m], for M rows and one panel
template <int M>
inline void add_group(const float* a, const float* w, const float* scales, const float* t, float* c) {
  V acc[M][kPerPanel];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[m][n] = set1(0.0f);
  for (int i = 0; i < kGroup; ++i) {
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V x = set1(a[m * kGroup + i]);
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[m][n] = fma(x, load(w + i * kPanel + n * kWidth), acc[m][n]);
    }
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
      float* to = c + m * kPanel + n * kWidth;
      store(to, fma(acc[m][n], mul(load(scales + n * kWidth), set1(t[m])), load(to)));
    }
}

inline void linear_q8_0(const Linear& l, const Quantized& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  const int64_t k = l.w.k, groups = k / kGroup;
  float c[kRowBlock * kPanel], w[kGroup * kPanel], a[kRowBlock * kGroup], s[kPanel], t[kRowBlock];
  for (int64_t p = panel0; p < panel1; ++p) {
    for (int64_t i = 0; i < rows * kPanel; ++i) c[i] = 0.0f;
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* packed = l.w.data + (p * groups + g) * (kGroup * kPanel);
      for (int j = 0; j < kGroup / 4; ++j)
        for (int i = 0; i < 4; ++i)
          for (int n = 0; n < kPanel; ++n) w[(j * 4 + i) * kPanel + n] = static_cast<float>(packed[j * 64 + n * 4 + i] - 128);
      for (int n = 0; n < kPanel; ++n) s[n] = half_to_float(l.w.scales[(p * groups + g) * kPanel + n]);
      for (int64_t m = 0; m < rows; ++m) {
        t[m] = x.scale[m * groups + g];
        for (int i = 0; i < kGroup; ++i) a[m * kGroup + i] = static_cast<float>(x.q[m * k + g * kGroup + i]);
      }
      int64_t m = 0;
      for (; m + 3 <= rows; m += 3) add_group<3>(a + m * kGroup, w, s, t + m, c + m * kPanel);
      for (; m < rows; ++m) add_group<1>(a + m * kGroup, w, s, t + m, c + m * kPanel);
    }
    epilogue(l, row0, rows, p * kPanel, kPanel, c, kPanel);
  }
}

inline void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  for (int64_t row = 0; row < rows; ++row) {
    int32_t total = 0;
    for (int64_t i = 0; i < width; ++i) total += static_cast<int16_t>(vectors[row * width + i]) * static_cast<int16_t>(query[i]);
    out[row] = total;
  }
}

}  // namespace
}  // namespace ownlm
