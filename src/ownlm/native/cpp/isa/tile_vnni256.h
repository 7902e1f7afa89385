// Tiles of Q8_0 and Q4_0 weights with vpdpbusd on vectors of 256 bits: one instruction multiplies 4 weights of each of 8 columns
// by 4 activations of a row. OWNLM_DPBUSD256 is the intrinsic, for there are two encodings of it.
#pragma once

namespace ownlm {
namespace {

constexpr int kGroupRows = 6;  // their sums as integers, two vectors of weights, the row's activations and a mask: 16 registers

template <Format F, int M>
inline void tile_of_groups(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = kGroup * kPanel / (F == Format::q4_0 ? 2 : 1), kAhead = 3072;
  const int64_t groups = w.k / kGroup;
  const uint8_t* b = w.data + panel * groups * kBytes;
  const uint16_t* s = w.scales + panel * groups * kPanel;
  const __m256i low = _mm256_set1_epi8(15);
  OWNLM_UNROLL for (int m = 0; m < M; ++m) {
    store(c + m * kTileColumns, _mm256_setzero_ps());
    store(c + m * kTileColumns + 8, _mm256_setzero_ps());
  }
  for (int64_t g = 0; g < groups; ++g, b += kBytes, s += kPanel, x += sizeof(ActivationGroup)) {
    const auto four = [&](int m, int j) __attribute__((always_inline)) {
      int32_t v;
      __builtin_memcpy(&v, x + m * stride + offsetof(ActivationGroup, q) + 4 * j, 4);
      return _mm256_set1_epi32(v);
    };
    OWNLM_UNROLL for (int i = 0; i < kBytes; i += 64) OWNLM_PREFETCH(b + kAhead + i);
    OWNLM_PREFETCH(reinterpret_cast<const uint8_t*>(s) + kAhead / 8);
    __m256i acc[M][2];
    OWNLM_UNROLL for (int m = 0; m < M; ++m)
      acc[m][0] = acc[m][1] = _mm256_set1_epi32(reinterpret_cast<const ActivationGroup*>(x + m * stride)->offset);
    OWNLM_UNROLL for (int j = 0; j < 8; ++j) {  // of 4-bit weights, the low halves' inputs 0..15, then the high halves' 16..31
      const uint8_t* at = b + (F == Format::q4_0 ? j / 2 : j) * 64;
      __m256i v[2];
      OWNLM_UNROLL for (int h = 0; h < 2; ++h) {
        v[h] = _mm256_load_si256(reinterpret_cast<const __m256i*>(at + h * 32));
        if constexpr (F == Format::q4_0) v[h] = _mm256_and_si256(j % 2 ? _mm256_srli_epi16(v[h], 4) : v[h], low);
      }
      OWNLM_UNROLL for (int m = 0; m < M; ++m) {
        const __m256i a = four(m, F == Format::q4_0 ? j / 2 + j % 2 * 4 : j);
        OWNLM_UNROLL for (int h = 0; h < 2; ++h) acc[m][h] = OWNLM_DPBUSD256(acc[m][h], v[h], a);
      }
    }
    const V s0 = load_half(s), s1 = load_half(s + 8);
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V t = set1(reinterpret_cast<const ActivationGroup*>(x + m * stride)->scale);
      float* to = c + m * kTileColumns;
      store(to, fma(_mm256_cvtepi32_ps(acc[m][0]), mul(s0, t), load(to)));
      store(to + 8, fma(_mm256_cvtepi32_ps(acc[m][1]), mul(s1, t), load(to + 8)));
    }
  }
}

}  // namespace
}  // namespace ownlm
