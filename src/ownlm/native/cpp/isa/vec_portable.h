// A vector of 4 floats in plain C++: SSE2, NEON, or whatever the compiler has.
#pragma once
#include <cstdint>
#include <cstring>

namespace ownlm {
namespace {

#if defined(__GNUC__)
// GCC's and Clang's own vectors, for any processor; left as an array, loops over V stay scalar there.
typedef float V __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));
constexpr int kWidth = 4;
inline V load(const float* p) { V r; std::memcpy(&r, p, sizeof r); return r; }
inline void store(float* p, V a) { std::memcpy(p, &a, sizeof a); }
inline float lane(V a, int i) { return a[i]; }
inline V set1(float x) { return V{x, x, x, x}; }
inline V set4(float a, float b, float c, float d) { return V{a, b, c, d}; }
inline V add(V a, V b) { return a + b; }
inline V sub(V a, V b) { return a - b; }
inline V mul(V a, V b) { return a * b; }
inline V div(V a, V b) { return a / b; }
inline V vmax(V a, V b) { return a > b ? a : b; }
inline V vmin(V a, V b) { return a < b ? a : b; }
inline V vabs(V a) { return (V)((VI)a & VI{0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}); }
// (the 32 bits at p + 4 lane) >> shift & mask
inline V load_bits(const uint8_t* p, int shift, int32_t mask) {
  typedef uint32_t VU __attribute__((vector_size(16)));
  VU bits;
  std::memcpy(&bits, p, sizeof bits);
  bits = bits >> static_cast<uint32_t>(shift) & static_cast<uint32_t>(mask);
  return __builtin_convertvector((VI)bits, V);
}
// 2^n for whole n in [-126, 127]
inline V pow2(V n) { return (V)((__builtin_convertvector(n, VI) + VI{127, 127, 127, 127}) * VI{1 << 23, 1 << 23, 1 << 23, 1 << 23}); }
#else
struct V { float v[4]; };
constexpr int kWidth = 4;
#define OWNLM_LANES for (int i = 0; i < 4; ++i)
inline V load(const float* p) { V r; std::memcpy(&r, p, sizeof r); return r; }
inline void store(float* p, V a) { std::memcpy(p, &a, sizeof a); }
inline float lane(V a, int i) { return a.v[i]; }
inline V set1(float x) { return {{x, x, x, x}}; }
inline V set4(float a, float b, float c, float d) { return {{a, b, c, d}}; }
inline V add(V a, V b) { OWNLM_LANES a.v[i] += b.v[i]; return a; }
inline V sub(V a, V b) { OWNLM_LANES a.v[i] -= b.v[i]; return a; }
inline V mul(V a, V b) { OWNLM_LANES a.v[i] *= b.v[i]; return a; }
inline V div(V a, V b) { OWNLM_LANES a.v[i] /= b.v[i]; return a; }
inline V vmax(V a, V b) { OWNLM_LANES a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
inline V vmin(V a, V b) { OWNLM_LANES a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
inline V vabs(V a) { OWNLM_LANES a.v[i] = a.v[i] < 0 ? -a.v[i] : a.v[i]; return a; }
inline V load_bits(const uint8_t* p, int shift, int32_t mask) {
  V r;
  OWNLM_LANES {
    uint32_t bits;
    std::memcpy(&bits, p + 4 * i, 4);
    r.v[i] = static_cast<float>(bits >> shift & static_cast<uint32_t>(mask));
  }
  return r;
}
// 2^n for whole n in [-126, 127]
inline V pow2(V n) {
  V r;
  OWNLM_LANES {
    const int32_t bits = (static_cast<int32_t>(n.v[i]) + 127) << 23;
    std::memcpy(&r.v[i], &bits, 4);
  }
  return r;
}
#undef OWNLM_LANES
#endif

inline V load_n(const float* p, int n) {
  if (n >= 4) return load(p);
  return set4(n > 0 ? p[0] : 0.0f, n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, 0.0f);
}
inline void store_n(float* p, V a, int n) {
  if (n >= 4) return store(p, a);
  for (int i = 0; i < n; ++i) p[i] = lane(a, i);
}
inline V fma(V a, V b, V c) { return add(mul(a, b), c); }
inline float sum(V a) { return (lane(a, 0) + lane(a, 2)) + (lane(a, 1) + lane(a, 3)); }
inline float maximum(V a) {
  float m = lane(a, 0);
  for (int i = 1; i < 4; ++i) m = lane(a, i) > m ? lane(a, i) : m;
  return m;
}
// to the nearest whole number, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits for the fraction
inline V nearest(V x) { const V m = set1(12582912.0f); return sub(add(x, m), m); }

inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  uint32_t exponent = (h >> 10) & 31u, fraction = h & 1023u, bits;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24 is exact
    float f = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    std::memcpy(&bits, &f, 4);
    bits |= sign;
  } else if (exponent == 31) {
    bits = sign | 0x7f800000u | (fraction << 13);
  } else {
    bits = sign | ((exponent + 112) << 23) | (fraction << 13);
  }
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
inline V load_half(const uint16_t* p) {
  return set4(half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3]));
}
inline V load_i8(const int8_t* p) {
  return set4(static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3]));
}
// even and odd halves of 4 pairs of bfloat16
inline V load_even(const int32_t* p) {
  uint32_t bits[4];
  std::memcpy(bits, p, sizeof bits);
  for (uint32_t& b : bits) b <<= 16;
  V r;
  std::memcpy(&r, bits, sizeof r);
  return r;
}
inline V load_odd(const int32_t* p) {
  uint32_t bits[4];
  std::memcpy(bits, p, sizeof bits);
  for (uint32_t& b : bits) b &= 0xffff0000u;
  V r;
  std::memcpy(&r, bits, sizeof r);
  return r;
}
// stores a group of whole numbers in [-128, 127] as bytes; returns their sum
inline int32_t store_group(int8_t* p, const V* v) {
  int32_t total = 0;
  for (int i = 0; i < 32; ++i) {
    p[i] = static_cast<int8_t>(lane(v[i / 4], i % 4));
    total += p[i];
  }
  return total;
}

}  // namespace
}  // namespace ownlm
