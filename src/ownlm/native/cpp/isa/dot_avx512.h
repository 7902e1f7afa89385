// Exact products of int8 vectors with vpdpbusd.
#pragma once

namespace ownlm {
namespace {

// sum (v + 128) q - 128 sum q, exact in int32 for widths up to 65536
inline void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  int32_t total = 0;
  for (int64_t i = 0; i < width; ++i) total += query[i];
  for (int64_t row = 0; row < rows; ++row) {
    const int8_t* v = vectors + row * width;
    __m512i acc = _mm512_setzero_si512();
    for (int64_t i = 0; i < width; i += 64) {
      const __mmask64 m = width - i >= 64 ? ~0ull : (1ull << (width - i)) - 1;
      const __m512i a = _mm512_xor_si512(_mm512_maskz_loadu_epi8(m, v + i), flip);
      acc = _mm512_dpbusd_epi32(acc, a, _mm512_maskz_loadu_epi8(m, query + i));
    }
    out[row] = _mm512_reduce_add_epi32(acc) - 128 * total;
  }
}

}  // namespace
}  // namespace ownlm
