// Tiles of Q8_0 and Q4_0 weights without VNNI. vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits.
// Q4_0: weights are 0..15, and a group's 16 products of a pair of lanes reach 16 * 15 * 127 = 30480: one 16-bit sum holds them.
// Q8_0: the sign moves to the activation; 2 * 128 * 127 = 32512 is all that 16 bits hold.
#pragma once

namespace ownlm {
namespace {

constexpr int kGroupRows = 4;

template <Format F, int M>
inline void tile_of_groups(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = kGroup * kPanel / (F == Format::q4_0 ? 2 : 1), kAhead = 3072;
  const int64_t groups = w.k / kGroup;
  const uint8_t* b = w.data + panel * groups * kBytes;
  const uint16_t* s = w.scales + panel * groups * kPanel;
  const __m256i ones = _mm256_set1_epi16(1);
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
    const auto weights = [&](int j, int h) __attribute__((always_inline)) {
      return _mm256_load_si256(reinterpret_cast<const __m256i*>(b + j * 64 + h * 32));
    };
    for (int i = 0; i < kBytes; i += 64) OWNLM_PREFETCH(b + kAhead + i);
    OWNLM_PREFETCH(reinterpret_cast<const uint8_t*>(s) + kAhead / 8);
    __m256i acc[M][2];
    OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m][0] = acc[m][1] = _mm256_setzero_si256();
    if constexpr (F == Format::q4_0) {
      const __m256i low = _mm256_set1_epi8(15);
      OWNLM_UNROLL for (int j = 0; j < 8; ++j) {  // one half of the nibbles at a time: 16 registers hold no more
        __m256i v[2];
        OWNLM_UNROLL for (int h = 0; h < 2; ++h)
          v[h] = _mm256_and_si256(j % 2 ? _mm256_srli_epi16(weights(j / 2, h), 4) : weights(j / 2, h), low);
        OWNLM_UNROLL for (int m = 0; m < M; ++m) {
          const __m256i a = four(m, j / 2 + j % 2 * 4);
          OWNLM_UNROLL for (int h = 0; h < 2; ++h) acc[m][h] = _mm256_add_epi16(acc[m][h], _mm256_maddubs_epi16(v[h], a));
        }
      }
      OWNLM_UNROLL for (int m = 0; m < M; ++m) {
        const __m256i offset = _mm256_set1_epi32(reinterpret_cast<const ActivationGroup*>(x + m * stride)->offset);
        OWNLM_UNROLL for (int h = 0; h < 2; ++h) acc[m][h] = _mm256_add_epi32(_mm256_madd_epi16(acc[m][h], ones), offset);
      }
    } else {
      const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
      for (int j = 0; j < 8; ++j) {
        __m256i v[2], magnitude[2];
        OWNLM_UNROLL for (int h = 0; h < 2; ++h) {
          v[h] = _mm256_xor_si256(weights(j, h), flip);
          magnitude[h] = _mm256_abs_epi8(v[h]);
        }
        OWNLM_UNROLL for (int m = 0; m < M; ++m) {
          const __m256i a = four(m, j);
          OWNLM_UNROLL for (int h = 0; h < 2; ++h) {
            const __m256i pairs = _mm256_maddubs_epi16(magnitude[h], _mm256_sign_epi8(a, v[h]));
            acc[m][h] = _mm256_add_epi32(acc[m][h], _mm256_madd_epi16(pairs, ones));
          }
        }
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
