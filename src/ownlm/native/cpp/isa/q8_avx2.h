// Q8_0 products without VNNI. vpmaddubsw adds two products of an unsigned and a signed byte and saturates at 16 bits:
// |w| <= 128 against activations in [-127, 127] gives at most 2 * 128 * 127 = 32512, so nothing saturates.
#pragma once

namespace ownlm {
namespace {

template <int M>
inline void tile_q8(const uint8_t* w, const uint16_t* ws, const int8_t* q, const float* scale, int64_t groups, float* c, int64_t ldc) {
  const int64_t k = groups * kGroup;
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80)), ones = _mm256_set1_epi16(1);
  OWNLM_UNROLL for (int m = 0; m < M; ++m) {
    store(c + m * ldc, _mm256_setzero_ps());
    store(c + m * ldc + 8, _mm256_setzero_ps());
  }
  for (int64_t g = 0; g < groups; ++g) {
    __m256i acc[M][2];
    OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m][0] = acc[m][1] = _mm256_setzero_si256();
    for (int j = 0; j < 8; ++j) {
      const uint8_t* at = w + g * (kGroup * kPanel) + j * 64;
      __m256i b[2], magnitude[2];
      OWNLM_UNROLL for (int h = 0; h < 2; ++h) {
        b[h] = _mm256_xor_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(at + h * 32)), flip);
        magnitude[h] = _mm256_abs_epi8(b[h]);
      }
      OWNLM_UNROLL for (int m = 0; m < M; ++m) {
        int32_t four;
        __builtin_memcpy(&four, q + m * k + g * kGroup + j * 4, 4);
        const __m256i a = _mm256_set1_epi32(four);
        OWNLM_UNROLL for (int h = 0; h < 2; ++h) {
          const __m256i pairs = _mm256_maddubs_epi16(magnitude[h], _mm256_sign_epi8(a, b[h]));
          acc[m][h] = _mm256_add_epi32(acc[m][h], _mm256_madd_epi16(pairs, ones));
        }
      }
    }
    const V s0 = load_half(ws + g * kPanel), s1 = load_half(ws + g * kPanel + 8);
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V t = set1(scale[m * groups + g]);
      float* to = c + m * ldc;
      store(to, fma(_mm256_cvtepi32_ps(acc[m][0]), mul(s0, t), load(to)));
      store(to + 8, fma(_mm256_cvtepi32_ps(acc[m][1]), mul(s1, t), load(to + 8)));
    }
  }
}

inline void linear_q8_0(const Linear& l, const Quantized& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  constexpr int kRows = 4;
  const int64_t k = l.w.k, groups = k / kGroup;
  alignas(64) float c[kRowBlock * kPanel];
  for (int64_t p = panel0; p < panel1; ++p) {
    const uint8_t* w = l.w.data + p * k * kPanel;
    const uint16_t* ws = l.w.scales + p * groups * kPanel;
    for (int64_t m = 0; m < rows; m += kRows) {
      const int8_t* q = x.q + m * k;
      const float* scale = x.scale + m * groups;
      float* to = c + m * kPanel;
      switch (rows - m) {
        case 1: tile_q8<1>(w, ws, q, scale, groups, to, kPanel); break;
        case 2: tile_q8<2>(w, ws, q, scale, groups, to, kPanel); break;
        case 3: tile_q8<3>(w, ws, q, scale, groups, to, kPanel); break;
        default: tile_q8<4>(w, ws, q, scale, groups, to, kPanel);
      }
    }
    epilogue(l, row0, rows, p * kPanel, kPanel, c, kPanel);
  }
}

inline void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  for (int64_t row = 0; row < rows; ++row) {
    const int8_t* v = vectors + row * width;
    __m256i acc = _mm256_setzero_si256();
    int64_t i = 0;
    for (; i + 16 <= width; i += 16) {
      const __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(v + i)));
      const __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query + i)));
      acc = _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
    }
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(acc), _mm256_extracti128_si256(acc, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    int32_t total = _mm_cvtsi128_si32(s);
    for (; i < width; ++i) total += v[i] * query[i];
    out[row] = total;
  }
}

}  // namespace
}  // namespace ownlm
