// Tiles of K weights with vpdpbusd; the upper bits of Q5_K and Q6_K join the nibbles in registers. Included after tile_avx512.h.
#pragma once

namespace ownlm {
namespace {

inline __m512 load_bytes(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

// Weights 4 j .. 4 j + 3 of each column, of the group at b; j is a constant where this is unrolled.
template <Format F>
inline __m512i k_words(const uint8_t* b, int j) {
  const __m512i both = _mm512_load_si512(b + j % 4 * 64);
  const __m512i low = _mm512_and_si512(j < 4 ? both : _mm512_srli_epi16(both, 4), _mm512_set1_epi8(15));
  if constexpr (F == Format::q4_k) return low;
  const __m512i high = _mm512_load_si512(b + 256 + (F == Format::q6_k ? j / 4 * 64 : 0));
  const int left = F == Format::q6_k ? 4 - 2 * (j % 4) : 4 - j;  // to the bits above the nibble
  const __m512i moved = left >= 0 ? _mm512_slli_epi16(high, left) : _mm512_srli_epi16(high, -left);
  return _mm512_ternarylogic_epi32(low, moved, _mm512_set1_epi8(F == Format::q6_k ? 0x30 : 0x10), 0xf8);  // low | (moved & mask)
}

template <Format F, int M>
inline void tile_of_k(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = F == Format::q4_k ? 256 : F == Format::q5_k ? 320 : 384, kScales = F == Format::q6_k ? 288 : 320, kAhead = 3072;
  const int64_t blocks = w.k / kSuper;
  const uint8_t* b = w.data + panel * blocks * 8 * kBytes;
  const uint8_t* s = reinterpret_cast<const uint8_t*>(w.scales) + panel * blocks * kScales;
  const uint8_t* rows[(M + 2) / 3];  // every third: the others lie one and two strides behind, which addressing adds
  OWNLM_UNROLL for (int i = 0; i < (M + 2) / 3; ++i) rows[i] = x + 3 * i * stride;
  const auto group = [&](int m) __attribute__((always_inline)) { return reinterpret_cast<const KActivationGroup*>(rows[m / 3] + (m % 3) * stride); };
  const auto four = [&](int m, int j) __attribute__((always_inline)) {
    int32_t v;
    __builtin_memcpy(&v, group(m)->q + 4 * j, 4);
    return _mm512_set1_epi32(v);
  };
  __m512 f[M];
  OWNLM_UNROLL for (int m = 0; m < M; ++m) f[m] = _mm512_setzero_ps();
  for (int64_t i = 0; i < blocks; ++i, s += kScales) {
    OWNLM_UNROLL for (int n = 0; n < kScales; n += 64) OWNLM_PREFETCH(s + 2 * kScales + n);
    const __m512 d = load_half(reinterpret_cast<const uint16_t*>(s));
    for (int g = 0; g < 8; ++g, b += kBytes) {
      OWNLM_UNROLL for (int n = 0; n < kBytes; n += 64) OWNLM_PREFETCH(b + kAhead + n);
      __m512i acc[M];
      if constexpr (F == Format::q6_k) {
        OWNLM_UNROLL for (int half = 0; half < 2; ++half) {
          OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_set1_epi32(group(m)->offset[half]);
          OWNLM_UNROLL for (int j = 0; j < 4; ++j) {
            const __m512i v = k_words<F>(b, 4 * half + j);
            OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_dpbusd_epi32(acc[m], v, four(m, 4 * half + j));
          }
          const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(s + 32 + (2 * g + half) * kPanel));
          const __m512 scale = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)));
          OWNLM_UNROLL for (int m = 0; m < M; ++m)
            f[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[m]), _mm512_mul_ps(scale, _mm512_set1_ps(group(m)->scale)), f[m]);
        }
      } else {
        OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_setzero_si512();
        OWNLM_UNROLL for (int j = 0; j < 4; ++j) {  // both halves of a byte after each other
          const __m512i first = k_words<F>(b, j), second = k_words<F>(b, j + 4);
          OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_dpbusd_epi32(acc[m], first, four(m, j));
          OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm512_dpbusd_epi32(acc[m], second, four(m, j + 4));
        }
        const __m512 scale = _mm512_mul_ps(d, load_bytes(s + 64 + g * kPanel));
        const __m512 minimum = _mm512_mul_ps(load_half(reinterpret_cast<const uint16_t*>(s + 32)), load_bytes(s + 192 + g * kPanel));
        OWNLM_UNROLL for (int m = 0; m < M; ++m) {
          f[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[m]), _mm512_mul_ps(scale, _mm512_set1_ps(group(m)->scale)), f[m]);
          f[m] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(group(m)->weighted), f[m]);
        }
      }
      OWNLM_UNROLL for (int n = 0; n < (M + 2) / 3; ++n) rows[n] += sizeof(KActivationGroup);
    }
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m) _mm512_storeu_ps(c + m * kTileColumns, f[m]);
}

}  // namespace
}  // namespace ownlm
