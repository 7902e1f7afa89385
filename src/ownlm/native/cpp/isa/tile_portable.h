// Tiles of Q8_0 and Q4_0 weights in plain C++. A group's 32 products are whole numbers that sum to at most
// 32 * 255 * 127 < 2^24, so float adds them exactly, in any order.
#pragma once

namespace ownlm {
namespace {

constexpr int kGroupRows = 12;  // share a group's weights once those are floats

// c[m] += (sum over a group of a[m] w, from start[m]) * scales * t[m], for M rows and one panel
template <int M>
inline void add_group(const float* a, const float* start, const float* t, const float* w, const float* scales, float* c) {
  V acc[M][kPerPanel];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[m][n] = set1(start[m]);
  for (int i = 0; i < kGroup; ++i) {
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V v = set1(a[m * kGroup + i]);
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[m][n] = fma(v, load(w + i * kPanel + n * kWidth), acc[m][n]);
    }
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
      float* to = c + m * kTileColumns + n * kWidth;
      store(to, fma(acc[m][n], mul(load(scales + n * kWidth), set1(t[m])), load(to)));
    }
}

// The weights of a group and panel as floats [32][16], all of them as packed: above 0.
template <Format F>
inline void unpack(const uint8_t* b, float* w) {
  for (int j = 0; j < kGroup / 4; ++j)
    OWNLM_UNROLL for (int i = 0; i < 4; ++i)
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
        const uint8_t* at = b + (F == Format::q4_0 ? j % 4 : j) * 64 + n * 4 * kWidth;
        const V v = F == Format::q8_0 ? load_bits(at, 8 * i, 255) : load_bits(at, 8 * i + (j < 4 ? 0 : 4), 15);
        store(w + (j * 4 + i) * kPanel + n * kWidth, v);
      }
}

template <Format F, int M>
inline void tile_of_groups(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = kGroup * kPanel / (F == Format::q4_0 ? 2 : 1);
  const int64_t groups = w.k / kGroup;
  const uint8_t* b = w.data + panel * groups * kBytes;
  const uint16_t* s = w.scales + panel * groups * kPanel;
  float v[kGroup * kPanel], scales[kPanel], a[M * kGroup], start[M], t[M];
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < kPanel; ++n) c[m * kTileColumns + n] = 0.0f;
  for (int64_t g = 0; g < groups; ++g, b += kBytes, s += kPanel, x += sizeof(ActivationGroup)) {
    unpack<F>(b, v);
    for (int n = 0; n < kPanel; ++n) scales[n] = half_to_float(s[n]);
    for (int m = 0; m < M; ++m) {
      const ActivationGroup* group = reinterpret_cast<const ActivationGroup*>(x + m * stride);
      start[m] = static_cast<float>(group->offset);
      t[m] = group->scale;
      for (int i = 0; i < kGroup; ++i) a[m * kGroup + i] = static_cast<float>(group->q[i]);
    }
    int m = 0;
    for (; m + 3 <= M; m += 3) add_group<3>(a + m * kGroup, start + m, t + m, v, scales, c + m * kTileColumns);
    for (; m < M; ++m) add_group<1>(a + m * kGroup, start + m, t + m, v, scales, c + m * kTileColumns);
  }
}

}  // namespace
}  // namespace ownlm
