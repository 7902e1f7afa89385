// Tiles of float and bfloat16 weights. A tile gives c[m][16 p .. ] for M rows and P panels; rows of c are kTileColumns apart.
// Sums run over k = 0, 1, 2 ... whatever M and P, so a row's result never depends on its neighbours.
#pragma once

namespace ownlm {
namespace {

constexpr int kTileColumns = 2 * kPanel;

template <int M, int P>
inline void tile_of_floats(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  const int64_t panel_floats = w.k * kPanel;
  tile_f32<M, P>(reinterpret_cast<const float*>(x), stride / 4, reinterpret_cast<const float*>(w.data) + panel * panel_floats,
                 panel_floats, w.k, c, kTileColumns);
}

#if defined(OWNLM_BF16_PRODUCTS)
template <int M, int P>
inline void tile_of_bf16(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  const int64_t pairs = (w.k + 1) / 2, panel_pairs = pairs * kPanel;
  tile_bf16<M, P>(reinterpret_cast<const int32_t*>(x), stride / 4, reinterpret_cast<const int32_t*>(w.data) + panel * panel_pairs,
                  panel_pairs, pairs, c, kTileColumns);
}
#else
template <int M, int P>
inline void tile_of_bf16(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int N = P * kPerPanel;
  const int64_t pairs = (w.k + 1) / 2, panel_pairs = pairs * kPanel, lda = stride / 4;
  const float* a = reinterpret_cast<const float*>(x);
  const int32_t* b = reinterpret_cast<const int32_t*>(w.data) + panel * panel_pairs;
  V acc[M][N];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < N; ++n) acc[m][n] = set1(0.0f);
  for (int64_t i = 0; i < pairs; ++i) {
    OWNLM_UNROLL for (int odd = 0; odd < 2; ++odd) {
      V v[N];
      OWNLM_UNROLL for (int n = 0; n < N; ++n) {
        const int32_t* at = b + (n / kPerPanel) * panel_pairs + i * kPanel + (n % kPerPanel) * kWidth;
        v[n] = odd ? load_odd(at) : load_even(at);
      }
      OWNLM_UNROLL for (int m = 0; m < M; ++m) {
        const V t = set1(a[m * lda + 2 * i + odd]);
        OWNLM_UNROLL for (int n = 0; n < N; ++n) acc[m][n] = fma(t, v[n], acc[m][n]);
      }
    }
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < N; ++n) store(c + m * kTileColumns + n * kWidth, acc[m][n]);
}
#endif

}  // namespace
}  // namespace ownlm
