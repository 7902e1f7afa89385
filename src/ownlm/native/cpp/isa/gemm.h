// The float tile that linear and attention share.
#pragma once

// A tile's sums are an array that has to become registers: every loop over it is unrolled whole.
#if defined(__clang__)
#define OWNLM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define OWNLM_UNROLL _Pragma("GCC unroll 16")
#else
#define OWNLM_UNROLL
#endif

#if defined(__GNUC__)
#define OWNLM_PREFETCH(...) __builtin_prefetch(__VA_ARGS__)
#else
#define OWNLM_PREFETCH(...)
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

}  // namespace
}  // namespace ownlm
