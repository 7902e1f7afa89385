// Tiles of K weights on vectors of 256 bits, one half of a panel after the other. With OWNLM_DPBUSD256 by vpdpbusd; else by vpmaddubsw,
// which adds two products in 16 bits: weights reach 15, 31 or 63, so 8, 4 or 2 of these sums fit before they are widened.
#pragma once

namespace ownlm {
namespace {

// Weights 4 j .. 4 j + 3 of columns 8 h .. 8 h + 7, of the group at b; j is a constant where this is unrolled.
template <Format F>
inline __m256i k_words(const uint8_t* b, int j, int h) {
  const auto at = [&](int place) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(b + place + h * 32)); };
  const __m256i both = at(j % 4 * 64);
  const __m256i low = _mm256_and_si256(j < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
  if constexpr (F == Format::q4_k) return low;
  const __m256i high = at(256 + (F == Format::q6_k ? j / 4 * 64 : 0));
  const int left = F == Format::q6_k ? 4 - 2 * (j % 4) : 4 - j;  // to the bits above the nibble
  const __m256i moved = left >= 0 ? _mm256_slli_epi16(high, left) : _mm256_srli_epi16(high, -left);
  return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(F == Format::q6_k ? 0x30 : 0x10)));
}

// acc[m] += the products of words j0 .. j1 of a group and 8 columns, for M rows
template <Format F, int M, int J0, int J1, class Four>
inline void add_words(const uint8_t* b, int h, Four four, __m256i* acc) {
#if defined(OWNLM_DPBUSD256)
  OWNLM_UNROLL for (int j = J0; j < J1; ++j) {
    const __m256i v = k_words<F>(b, j, h);
    OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = OWNLM_DPBUSD256(acc[m], v, four(m, j));
  }
#else
  constexpr int kRun = F == Format::q4_k ? 8 : F == Format::q5_k ? 4 : 2;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i pairs[M];
  OWNLM_UNROLL for (int j = J0; j < J1; ++j) {
    const __m256i v = k_words<F>(b, j, h);
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const __m256i p = _mm256_maddubs_epi16(v, four(m, j));
      pairs[m] = (j - J0) % kRun ? _mm256_add_epi16(pairs[m], p) : p;
      if ((j - J0) % kRun == kRun - 1 || j == J1 - 1) acc[m] = _mm256_add_epi32(acc[m], _mm256_madd_epi16(pairs[m], ones));
    }
  }
#endif
}

template <Format F, int M>
inline void tile_of_k(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = F == Format::q4_k ? 256 : F == Format::q5_k ? 320 : 384, kScales = F == Format::q6_k ? 288 : 320, kAhead = 3072;
  const int64_t blocks = w.k / kSuper;
  const uint8_t* b = w.data + panel * blocks * 8 * kBytes;
  const uint8_t* s = reinterpret_cast<const uint8_t*>(w.scales) + panel * blocks * kScales;
  const auto group = [&](int m) __attribute__((always_inline)) { return reinterpret_cast<const KActivationGroup*>(x + m * stride); };
  const auto four = [&](int m, int j) __attribute__((always_inline)) {
    int32_t v;
    __builtin_memcpy(&v, group(m)->q + 4 * j, 4);
    return _mm256_set1_epi32(v);
  };
  const auto bytes = [&](int place) __attribute__((always_inline)) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(s + place)); };
  const auto halves = [&](int place) __attribute__((always_inline)) { return load_half(reinterpret_cast<const uint16_t*>(s + place)); };
  OWNLM_UNROLL for (int m = 0; m < M; ++m) {
    store(c + m * kTileColumns, _mm256_setzero_ps());
    store(c + m * kTileColumns + 8, _mm256_setzero_ps());
  }
  for (int64_t i = 0; i < blocks; ++i, s += kScales)
    for (int g = 0; g < 8; ++g, b += kBytes, x += sizeof(KActivationGroup)) {
      OWNLM_UNROLL for (int n = 0; n < kBytes; n += 64) OWNLM_PREFETCH(b + kAhead + n);
      if (g < kScales / 64) OWNLM_PREFETCH(s + 2 * kScales + g * 64);
      for (int h = 0; h < 2; ++h) {
        const V d = halves(16 * h);
        __m256i acc[M];
        const auto add_scaled = [&](V scale) __attribute__((always_inline)) {
          OWNLM_UNROLL for (int m = 0; m < M; ++m) {
            float* to = c + m * kTileColumns + 8 * h;
            store(to, fma(_mm256_cvtepi32_ps(acc[m]), mul(scale, set1(group(m)->scale)), load(to)));
          }
        };
        if constexpr (F == Format::q6_k) {
          const auto part = [&](int half) __attribute__((always_inline)) {
            OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm256_set1_epi32(group(m)->offset[half]);
            if (half) add_words<F, M, 4, 8>(b, h, four, acc);
            else add_words<F, M, 0, 4>(b, h, four, acc);
            add_scaled(mul(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes(32 + (2 * g + half) * kPanel + 8 * h)))));
          };
          part(0);
          part(1);
        } else {
          OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = _mm256_setzero_si256();
          add_words<F, M, 0, 8>(b, h, four, acc);
          add_scaled(mul(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes(64 + g * kPanel + 8 * h)))));
          const V minimum = mul(halves(32 + 16 * h), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes(192 + g * kPanel + 8 * h))));
          OWNLM_UNROLL for (int m = 0; m < M; ++m) {
            float* to = c + m * kTileColumns + 8 * h;
            store(to, _mm256_fnmadd_ps(minimum, set1(group(m)->weighted), load(to)));
          }
        }
      }
    }
}

}  // namespace
}  // namespace ownlm
