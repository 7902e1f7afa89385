// Tiles of K weights in plain C++. Products of a group are whole numbers below 2^24, which float adds exactly.
#pragma once

namespace ownlm {
namespace {

// The weights of a group and panel as floats [32][16], without minima.
template <Format F>
inline void unpack_k(const uint8_t* b, float* w) {
  for (int j = 0; j < kGroup / 4; ++j)
    OWNLM_UNROLL for (int i = 0; i < 4; ++i)
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
        const int lane = n * 4 * kWidth;
        V v = load_bits(b + j % 4 * 64 + lane, 8 * i + (j < 4 ? 0 : 4), 15);
        if constexpr (F == Format::q5_k) v = fma(load_bits(b + 256 + lane, 8 * i + j, 1), set1(16.0f), v);
        if constexpr (F == Format::q6_k) v = fma(load_bits(b + 256 + j / 4 * 64 + lane, 8 * i + 2 * (j % 4), 3), set1(16.0f), v);
        store(w + (j * 4 + i) * kPanel + n * kWidth, v);
      }
}

// c += (start + sum over `count` inputs of a w) * scales * t, for one row and panel
inline void add_part(const int8_t* a, float start, float t, int count, const float* w, const float* scales, float* c) {
  V acc[kPerPanel];
  OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[n] = set1(start);
  for (int i = 0; i < count; ++i) {
    const V v = set1(static_cast<float>(a[i]));
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[n] = fma(v, load(w + i * kPanel + n * kWidth), acc[n]);
  }
  OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
    float* to = c + n * kWidth;
    store(to, fma(acc[n], mul(load(scales + n * kWidth), set1(t)), load(to)));
  }
}

template <Format F, int M>
inline void tile_of_k(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = F == Format::q4_k ? 256 : F == Format::q5_k ? 320 : 384, kScales = F == Format::q6_k ? 288 : 320;
  const int64_t blocks = w.k / kSuper;
  const uint8_t* b = w.data + panel * blocks * 8 * kBytes;
  const uint8_t* s = reinterpret_cast<const uint8_t*>(w.scales) + panel * blocks * kScales;
  float v[kGroup * kPanel], scales[2][kPanel], minima[kPanel];
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < kPanel; ++n) c[m * kTileColumns + n] = 0.0f;
  const auto half = [&](int place) {
    uint16_t h;
    std::memcpy(&h, s + place, 2);
    return half_to_float(h);
  };
  for (int64_t i = 0; i < blocks; ++i, s += kScales)
    for (int g = 0; g < 8; ++g, b += kBytes, x += sizeof(KActivationGroup)) {
      unpack_k<F>(b, v);
      for (int n = 0; n < kPanel; ++n) {
        if constexpr (F == Format::q6_k) {
          for (int part = 0; part < 2; ++part) scales[part][n] = half(2 * n) * static_cast<float>(static_cast<int8_t>(s[32 + (2 * g + part) * kPanel + n]));
        } else {
          scales[0][n] = half(2 * n) * static_cast<float>(s[64 + g * kPanel + n]);
          minima[n] = half(32 + 2 * n) * static_cast<float>(s[192 + g * kPanel + n]);
        }
      }
      for (int m = 0; m < M; ++m) {
        const KActivationGroup* a = reinterpret_cast<const KActivationGroup*>(x + m * stride);
        float* to = c + m * kTileColumns;
        if constexpr (F == Format::q6_k) {
          for (int part = 0; part < 2; ++part)
            add_part(a->q + 16 * part, static_cast<float>(a->offset[part]), a->scale, 16, v + 16 * part * kPanel, scales[part], to);
        } else {
          add_part(a->q, 0.0f, a->scale, kGroup, v, scales[0], to);
          for (int n = 0; n < kPanel; ++n) to[n] -= minima[n] * a->weighted;
        }
      }
    }
}

}  // namespace
}  // namespace ownlm
