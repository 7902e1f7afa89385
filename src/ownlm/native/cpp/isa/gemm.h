// The float tile that linear_f32 and attention share, and the epilogue that all linears share.
#pragma once

// A tile's sums are an array that has to become registers: every loop over it is unrolled whole.
#if defined(__clang__)
#define OWNLM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define OWNLM_UNROLL _Pragma("GCC unroll 16")
#else
#define OWNLM_UNROLL
#endif

namespace ownlm {
namespace {

constexpr int kPerPanel = kPanel / kWidth;  // vectors in a panel

// c[m, 0 .. 16 P) = sum over k of a[m, k] * b[k, 16 P). Panels lie panel_stride floats apart. The order of additions is
// k = 0, 1, 2 ... whatever M and P, so a row's result never depends on its neighbours.
template <int M, int P>
inline void tile_f32(const float* a, int64_t lda, const float* b, int64_t panel_stride, int64_t k, float* c, int64_t ldc) {
  constexpr int N = P * kPerPanel;
  V acc[M][N];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < N; ++n) acc[m][n] = set1(0.0f);
  for (int64_t i = 0; i < k; ++i) {
    V w[N];
    OWNLM_UNROLL for (int n = 0; n < N; ++n) w[n] = load(b + (n / kPerPanel) * panel_stride + i * kPanel + (n % kPerPanel) * kWidth);
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V x = set1(a[m * lda + i]);
      OWNLM_UNROLL for (int n = 0; n < N; ++n) acc[m][n] = fma(x, w[n], acc[m][n]);
    }
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < N; ++n) store(c + m * ldc + n * kWidth, acc[m][n]);
}

template <int P>
inline void tile_f32_rows(int m, const float* a, int64_t lda, const float* b, int64_t panel_stride, int64_t k, float* c,
                          int64_t ldc) {
  switch (m) {
#define OWNLM_CASE(M) case M: tile_f32<M, P>(a, lda, b, panel_stride, k, c, ldc); break;
    OWNLM_CASE(1) OWNLM_CASE(2)
#if OWNLM_TILE_ROWS > 2
    OWNLM_CASE(3) OWNLM_CASE(4)
#endif
#if OWNLM_TILE_ROWS > 4
    OWNLM_CASE(5) OWNLM_CASE(6)
#endif
#if OWNLM_TILE_ROWS > 6
    OWNLM_CASE(7) OWNLM_CASE(8) OWNLM_CASE(9) OWNLM_CASE(10) OWNLM_CASE(11) OWNLM_CASE(12)
#endif
#undef OWNLM_CASE
  }
}

// Bias, activation, residual of `rows` rows and columns column0 .. column0 + 16 P of a tile c.
inline void epilogue(const Linear& l, int64_t row0, int64_t rows, int64_t column0, int64_t columns, const float* c, int64_t ldc) {
  const int64_t n = l.w.n, end = column0 + columns < n ? column0 + columns : n;
  for (int64_t column = column0; column < end; column += kWidth) {
    const int count = static_cast<int>(end - column < kWidth ? end - column : kWidth);
    const V bias = l.bias ? load_n(l.bias + column, count) : set1(0.0f);
    for (int64_t m = 0; m < rows; ++m) {
      V v = add(load(c + m * ldc + (column - column0)), bias);
      if (l.activation == Activation::gelu) v = gelu(v);
      else if (l.activation == Activation::gelu_tanh) v = gelu_tanh(v);
      const int64_t at = (row0 + m) * n + column;
      if (count == kWidth) {
        if (l.residual) v = add(v, load(l.residual + at));
        store(l.out + at, v);
      } else {
        if (l.residual) v = add(v, load_n(l.residual + at, count));
        store_n(l.out + at, v, count);
      }
    }
  }
}

#if defined(__GNUC__)
inline void prefetch(const float* p) { __builtin_prefetch(p, 1); }
#else
inline void prefetch(const float*) {}
#endif

// Fetches the cache lines that the epilogue of a tile will write and read, while the tile computes.
inline void prefetch_epilogue(const Linear& l, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t i = 0; i < columns; i += 16) {
      const int64_t at = (row + m) * l.w.n + column + i;
      prefetch(l.out + at);
      if (l.residual) prefetch(l.residual + at);
    }
}

inline void linear_f32(const Linear& l, const float* x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  const float* w = reinterpret_cast<const float*>(l.w.data);
  const int64_t k = l.w.k, stride = k * kPanel;
  alignas(64) float c[kRowBlock * 2 * kPanel];
  for (int64_t p = panel0; p < panel1; p += 2) {
    const bool two = p + 1 < panel1;
    for (int64_t m = 0; m < rows; m += OWNLM_TILE_ROWS) {
      const int count = static_cast<int>(rows - m < OWNLM_TILE_ROWS ? rows - m : OWNLM_TILE_ROWS);
      float* to = c + m * 2 * kPanel;
      if (two && OWNLM_TILE_PANELS == 2) {
        tile_f32_rows<OWNLM_TILE_PANELS>(count, x + m * k, k, w + p * stride, stride, k, to, 2 * kPanel);
      } else {
        tile_f32_rows<1>(count, x + m * k, k, w + p * stride, stride, k, to, 2 * kPanel);
        if (two) tile_f32_rows<1>(count, x + m * k, k, w + (p + 1) * stride, stride, k, to + kPanel, 2 * kPanel);
      }
    }
    epilogue(l, row0, rows, p * kPanel, two ? 2 * kPanel : kPanel, c, 2 * kPanel);
  }
}

}  // namespace
}  // namespace ownlm
