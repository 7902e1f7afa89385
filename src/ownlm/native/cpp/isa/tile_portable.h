// Tiles of Q8_0 and Q4_0 weights in plain C++. A group's 32 products are whole numbers that sum to at most
// 32 * 128 * 127 < 2^24, so float adds them exactly, in any order.
#pragma once

namespace ownlm {
namespace {

constexpr int kGroupRows = 12;  // share a group's weights once those are floats

// c[m] += (sum over a group of a[m] w) * scales * t[m], for M rows and one panel
template <int M>
inline void add_group(const uint8_t* x, int64_t stride, const float* w, const float* scales, float* c) {
  V acc[M][kPerPanel];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[m][n] = set1(0.0f);
  for (int i = 0; i < kGroup; ++i) {
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V a = set1(static_cast<float>(reinterpret_cast<const ActivationGroup*>(x + m * stride)->q[i]));
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[m][n] = fma(a, load(w + i * kPanel + n * kWidth), acc[m][n]);
    }
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m) {
    const V t = set1(reinterpret_cast<const ActivationGroup*>(x + m * stride)->scale);
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
      float* to = c + m * kTileColumns + n * kWidth;
      store(to, fma(acc[m][n], mul(load(scales + n * kWidth), t), load(to)));
    }
  }
}

// The weights of a group and panel as floats [32][16].
template <Format F>
inline void unpack(const uint8_t* b, float* w) {
  for (int j = 0; j < kGroup / 4; ++j)
    for (int i = 0; i < 4; ++i)
      for (int n = 0; n < kPanel; ++n) {
        const int byte = b[(F == Format::q4_0 ? j % 4 : j) * 64 + n * 4 + i];
        w[(j * 4 + i) * kPanel + n] = static_cast<float>(F == Format::q8_0 ? byte - 128 : (j < 4 ? byte & 15 : byte >> 4) - 8);
      }
}

template <Format F, int M>
inline void tile_of_groups(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = kGroup * kPanel / (F == Format::q4_0 ? 2 : 1);
  const int64_t groups = w.k / kGroup;
  const uint8_t* b = w.data + panel * groups * kBytes;
  const uint16_t* s = w.scales + panel * groups * kPanel;
  float v[kGroup * kPanel], scales[kPanel];
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < kPanel; ++n) c[m * kTileColumns + n] = 0.0f;
  for (int64_t g = 0; g < groups; ++g, b += kBytes, s += kPanel, x += sizeof(ActivationGroup)) {
    unpack<F>(b, v);
    for (int n = 0; n < kPanel; ++n) scales[n] = half_to_float(s[n]);
    int m = 0;
    for (; m + 3 <= M; m += 3) add_group<3>(x + m * stride, stride, v, scales, c + m * kTileColumns);
    for (; m < M; ++m) add_group<1>(x + m * stride, stride, v, scales, c + m * kTileColumns);
  }
}

}  // namespace
}  // namespace ownlm
