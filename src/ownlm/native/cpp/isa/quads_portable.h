// Sums of bytes times 14-bit numbers in plain C++, four lanes at a time. See quads_avx512.h.
#pragma once

namespace ownlm {
namespace {

#define OWNLM_QUAD_ROWS 2

struct Bytes { int16_t of[8]; };  // of lanes 0 and 1, and of lanes 2 and 3
struct Sums { int32_t of[8]; };   // four parts a lane, so that a compiler can multiply them side by side

inline Sums no_sums() { return {}; }
inline Bytes load_unsigned(const uint8_t* p, int which) {
  Bytes b;
  for (int i = 0; i < 8; ++i) b.of[i] = p[8 * which + i];
  return b;
}
inline Bytes load_signed(const uint8_t* p, int which) {
  Bytes b;
  for (int i = 0; i < 8; ++i) b.of[i] = static_cast<int8_t>(p[8 * which + i]);
  return b;
}
inline Bytes load_low(const uint8_t* p, int which) {
  Bytes b = load_unsigned(p, which);
  for (int i = 0; i < 8; ++i) b.of[i] &= 15;
  return b;
}
inline Bytes load_high(const uint8_t* p, int which) {
  Bytes b = load_unsigned(p, which);
  for (int i = 0; i < 8; ++i) b.of[i] = static_cast<int16_t>(b.of[i] >> 4);
  return b;
}
inline Sums add_unsigned(Sums s, const Bytes& b, const int32_t* a, int) {
  int16_t four[4];
  memcpy(four, a, 8);
  for (int i = 0; i < 8; ++i) s.of[i] += b.of[i] * four[i % 4];
  return s;
}
inline Sums add_signed(const Sums& s, const Bytes& b, const int32_t* a, int which) { return add_unsigned(s, b, a, which); }
inline V total(const Sums& first, const Sums& last, int times, int32_t less) {
  float found[4];
  for (int i = 0; i < 4; ++i) {
    const int32_t* s = (i < 2 ? first.of : last.of) + i % 2 * 4;
    found[i] = static_cast<float>(times * (s[0] + s[1] + s[2] + s[3]) - less);
  }
  return load(found);
}
template <bool Signed>
inline void store_numbers(int32_t* to, const V* v) {
  float x[16];
  for (int i = 0; i < 4; ++i) store(x + 4 * i, v[i]);
  int16_t numbers[16];
  for (int i = 0; i < 16; ++i) numbers[i] = x[i] == x[i] ? static_cast<int16_t>(x[i]) : int16_t{0};
  memcpy(to, numbers, sizeof numbers);
}

}  // namespace
}  // namespace ownlm
