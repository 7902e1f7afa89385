// Tiles of Q8_0 and Q4_0 weights with vpdpbusd: one instruction multiplies 4 weights of each of 16 columns by 4 activations of
// a row. Four-bit weights are unpacked in registers, beside the products: it costs a tile of many rows nothing.
#pragma once

namespace ownlm {
namespace {

constexpr int kGroupRows = 12;  // their sums as integers and as floats, and two vectors of weights, fill the registers

template <Format F, int M>
inline void tile_of_groups(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = kGroup * kPanel / (F == Format::q4_0 ? 2 : 1), kAhead = 3072;
  const int64_t groups = w.k / kGroup;
  const uint8_t* b = w.data + panel * groups * kBytes;
  const uint16_t* s = w.scales + panel * groups * kPanel;
  const __m512i low = _mm512_set1_epi8(15);
  const uint8_t* rows[(M + 2) / 3];  // every third: the others lie one and two strides behind, which addressing adds
  OWNLM_UNROLL for (int i = 0; i < (M + 2) / 3; ++i) rows[i] = x + 3 * i * stride;
  __m512 f[M];
  OWNLM_UNROLL for (int m = 0; m < M; ++m) f[m] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    const auto four = [&](int m, int j) __attribute__((always_inline)) {
      int32_t v;
      __builtin_memcpy(&v, rows[m / 3] + (m % 3) * stride + offsetof(ActivationGroup, q) + 4 * j, 4);
      return _mm512_set1_epi32(v);
    };
    OWNLM_UNROLL for (int i = 0; i < kBytes; i += 64) OWNLM_PREFETCH(b + kAhead + i);
    OWNLM_PREFETCH(reinterpret_cast<const uint8_t*>(s) + kAhead / 8);
    __m512i acc[M];
    OWNLM_UNROLL for (int m = 0; m < M; ++m)
      acc[m] = _mm512_set1_epi32(reinterpret_cast<const ActivationGroup*>(rows[m / 3] + (m % 3) * stride)->offset);
    if constexpr (F == Format::q4_0) {
      OWNLM_UNROLL for (int j = 0; j < 4; ++j) {
        const __m512i both = _mm512_load_si512(b + j * 64);
        const __m512i first = _mm512_and_si512(both, low), second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_dpbusd_epi32(acc[m], first, four(m, j));
        OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_dpbusd_epi32(acc[m], second, four(m, j + 4));
      }
    } else {
      OWNLM_UNROLL for (int j = 0; j < 8; ++j) {
        const __m512i v = _mm512_load_si512(b + j * 64);
        OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_dpbusd_epi32(acc[m], v, four(m, j));
      }
    }
    const __m512 scale = load_half(s);
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const float t = reinterpret_cast<const ActivationGroup*>(rows[m / 3] + (m % 3) * stride)->scale;
      f[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[m]), _mm512_mul_ps(scale, _mm512_set1_ps(t)), f[m]);
    }
    b += kBytes;
    s += kPanel;
    OWNLM_UNROLL for (int i = 0; i < (M + 2) / 3; ++i) rows[i] += sizeof(ActivationGroup);
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m) _mm512_storeu_ps(c + m * kTileColumns, f[m]);
}

}  // namespace
}  // namespace ownlm
