// Sums of bytes times 14-bit numbers by vpmaddwd: both as 16-bit numbers, two products an element, exact. (vpmaddubsw would
// saturate.) See quads_avx512.h.
#pragma once

namespace ownlm {
namespace {

#define OWNLM_QUAD_ROWS 4

using Bytes = __m256i;  // of lanes 0 .. 3 and of lanes 4 .. 7, four 16-bit numbers each
using Sums = __m256i;   // of the same lanes, two parts each

inline Sums no_sums() { return _mm256_setzero_si256(); }
inline __m128i sixteen(const uint8_t* p, int which) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * which)); }
inline Bytes load_unsigned(const uint8_t* p, int which) { return _mm256_cvtepu8_epi16(sixteen(p, which)); }
inline Bytes load_signed(const uint8_t* p, int which) { return _mm256_cvtepi8_epi16(sixteen(p, which)); }
inline Bytes load_low(const uint8_t* p, int which) { return _mm256_and_si256(load_unsigned(p, which), _mm256_set1_epi16(15)); }
inline Bytes load_high(const uint8_t* p, int which) { return _mm256_srli_epi16(load_unsigned(p, which), 4); }
inline Sums add_unsigned(Sums s, Bytes b, const int32_t* a, int) {
  int64_t four;
  memcpy(&four, a, 8);
  return _mm256_add_epi32(s, _mm256_madd_epi16(b, _mm256_set1_epi64x(four)));
}
inline Sums add_signed(Sums s, Bytes b, const int32_t* a, int which) { return add_unsigned(s, b, a, which); }
inline V total(Sums first, Sums last, int times, int32_t less) {
  const __m256i mixed = _mm256_hadd_epi32(first, last);  // lanes 0 1 4 5 2 3 6 7
  const __m256i whole = _mm256_mullo_epi32(_mm256_permute4x64_epi64(mixed, 0xd8), _mm256_set1_epi32(times));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(whole, _mm256_set1_epi32(less)));
}
template <bool Signed>
inline void store_numbers(int32_t* to, const V* v) {
  const __m256i mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(mixed, 0xd8));
}

}  // namespace
}  // namespace ownlm
