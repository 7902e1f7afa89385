// Sums of bytes times 14-bit numbers in plain C++, four lanes at a time. See quads_avx512.h.
#pragma once

namespace ownlm {
namespace {

#define OWNLM_QUAD_ROWS 2

struct Bytes { int16_t of[16]; };
struct Sums { int32_t of[16]; };  // four parts a lane, so that a compiler can multiply them side by side

inline Sums no_sums() { return {}; }
inline Bytes load_unsigned(const uint8_t* p) {
  Bytes b;
  for (int i = 0; i < 16; ++i) b.of[i] = p[i];
  return b;
}
inline Bytes load_signed(const uint8_t* p) {
  Bytes b;
  for (int i = 0; i < 16; ++i) b.of[i] = static_cast<int8_t>(p[i]);
  return b;
}
inline void load_nibbles(const uint8_t* p, Bytes* low, Bytes* high) {
  for (int i = 0; i < 16; ++i) low->of[i] = p[i] & 15;
  for (int i = 0; i < 16; ++i) high->of[i] = p[i] >> 4;
}
inline void add_unsigned(Sums* s, const Bytes& b, const int32_t* a) {
  int16_t four[4], numbers[16];
  memcpy(four, a, 8);
  for (int i = 0; i < 16; ++i) numbers[i] = four[i % 4];
  for (int i = 0; i < 16; ++i) s->of[i] += b.of[i] * numbers[i];
}
inline void add_signed(Sums* s, const Bytes& b, const int32_t* a) { add_unsigned(s, b, a); }
inline V total(const Sums& s, int times, int32_t less) {
  float found[4];
  for (int i = 0; i < 4; ++i) found[i] = static_cast<float>(times * (s.of[4 * i] + s.of[4 * i + 1] + s.of[4 * i + 2] + s.of[4 * i + 3]) - less);
  return load(found);
}
template <bool Signed>
inline void store_numbers(int32_t* to, const V* v) {
  float x[16];
  for (int i = 0; i < 4; ++i) store(x + 4 * i, v[i]);
  int16_t numbers[16];
  for (int i = 0; i < 16; ++i) numbers[i] = static_cast<int16_t>(x[i]);
  memcpy(to, numbers, sizeof numbers);
}

}  // namespace
}  // namespace ownlm
