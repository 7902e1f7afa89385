// Sums of bytes times 14-bit numbers by vpmaddwd: both as 16-bit numbers, two products an element, exact. (vpmaddubsw would
// saturate.) See quads_avx512.h.
#pragma once

namespace ownlm {
namespace {

#define OWNLM_QUAD_ROWS 4

struct Bytes { __m256i first, last; };  // of lanes 0 .. 3 and 4 .. 7, four 16-bit numbers each
struct Sums { __m256i first, last; };   // two parts a lane

inline Sums no_sums() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline __m128i sixteen(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline Bytes load_unsigned(const uint8_t* p) { return {_mm256_cvtepu8_epi16(sixteen(p)), _mm256_cvtepu8_epi16(sixteen(p + 16))}; }
inline Bytes load_signed(const uint8_t* p) { return {_mm256_cvtepi8_epi16(sixteen(p)), _mm256_cvtepi8_epi16(sixteen(p + 16))}; }
inline void load_nibbles(const uint8_t* p, Bytes* low, Bytes* high) {
  const Bytes both = load_unsigned(p);
  const __m256i mask = _mm256_set1_epi16(15);
  *low = {_mm256_and_si256(both.first, mask), _mm256_and_si256(both.last, mask)};
  *high = {_mm256_srli_epi16(both.first, 4), _mm256_srli_epi16(both.last, 4)};
}
inline void add_unsigned(Sums* s, Bytes b, const int32_t* a) {
  int64_t four;
  memcpy(&four, a, 8);
  const __m256i numbers = _mm256_set1_epi64x(four);
  s->first = _mm256_add_epi32(s->first, _mm256_madd_epi16(b.first, numbers));
  s->last = _mm256_add_epi32(s->last, _mm256_madd_epi16(b.last, numbers));
}
inline void add_signed(Sums* s, Bytes b, const int32_t* a) { add_unsigned(s, b, a); }
inline V total(Sums s, int times, int32_t less) {
  const __m256i mixed = _mm256_hadd_epi32(s.first, s.last);  // lanes 0 1 4 5 2 3 6 7
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
