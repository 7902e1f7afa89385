// Sums of bytes times 14-bit numbers by vpdpbusd, which adds four products of a signed and an unsigned byte: a number is two
// digits of 7 bits, whose sums are put together at the end. So a number of 14 bits costs two instructions, no conversion, and
// the sum is exact.
#pragma once

namespace ownlm {
namespace {

#define OWNLM_QUAD_ROWS 12  // rows of sums that the registers hold

// Sums and bytes come as two vectors each, apart from each other: as members of one value they would not stay in registers.
// Here the sums are those of the high and of the low digits, and both are made of the same bytes, four for each of 16 lanes.
typedef int32_t Sums __attribute__((vector_size(64)));  // GCC 12 copies sums of type __m512i before and after each vpdpbusd
using Bytes = __m512i;

inline Sums no_sums() { return Sums{}; }
inline Bytes load_unsigned(const uint8_t* p, int) { return _mm512_loadu_si512(p); }
inline Bytes load_signed(const uint8_t* p, int) { return _mm512_loadu_si512(p); }
inline Bytes load_low(const uint8_t* p, int) { return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(15)); }
inline Bytes load_high(const uint8_t* p, int) { return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4), _mm512_set1_epi8(15)); }
// a: four numbers, as store_numbers left them. Of unsigned bytes the numbers may have a sign, of signed bytes not.
inline Sums add_unsigned(Sums s, Bytes b, const int32_t* a, int which) { return (Sums)_mm512_dpbusd_epi32((__m512i)s, b, _mm512_set1_epi32(a[which])); }
inline Sums add_signed(Sums s, Bytes b, const int32_t* a, int which) { return (Sums)_mm512_dpbusd_epi32((__m512i)s, _mm512_set1_epi32(a[which]), b); }
// times * sums - less
inline V total(Sums high, Sums low, int times, int32_t less) {
  const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32((__m512i)high, 7), (__m512i)low);
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_mullo_epi32(whole, _mm512_set1_epi32(times)), _mm512_set1_epi32(less)));
}
// 16 whole numbers, within +-16255, or in 0 .. 16383 if not Signed
template <bool Signed>
inline void store_numbers(int32_t* to, const V* v) {
  const __m512i x = _mm512_cvtps_epi32(v[0]);
  const __m512i high = Signed ? _mm512_srai_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(64)), 7) : _mm512_srli_epi32(x, 7);
  const __m128i h = _mm512_cvtepi32_epi8(high), l = _mm512_cvtepi32_epi8(_mm512_sub_epi32(x, _mm512_slli_epi32(high, 7)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi32(h, l));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 4), _mm_unpackhi_epi32(h, l));
}

}  // namespace
}  // namespace ownlm
