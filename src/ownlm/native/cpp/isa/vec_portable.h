// A vector of 4 floats in plain C++: compilers turn these loops into SSE2 or NEON.
#pragma once
#include <cstdint>
#include <cstring>

namespace ownlm {
namespace {

struct V { float v[4]; };
constexpr int kWidth = 4;

#define OWNLM_LANES for (int i = 0; i < 4; ++i)
inline V load(const float* p) { V r; std::memcpy(&r, p, sizeof r); return r; }
inline void store(float* p, V a) { std::memcpy(p, &a, sizeof a); }
inline V load_n(const float* p, int n) { V r; OWNLM_LANES r.v[i] = i < n ? p[i] : 0.0f; return r; }
inline void store_n(float* p, V a, int n) { for (int i = 0; i < n && i < 4; ++i) p[i] = a.v[i]; }
inline V set1(float x) { V r; OWNLM_LANES r.v[i] = x; return r; }
inline V add(V a, V b) { OWNLM_LANES a.v[i] += b.v[i]; return a; }
inline V sub(V a, V b) { OWNLM_LANES a.v[i] -= b.v[i]; return a; }
inline V mul(V a, V b) { OWNLM_LANES a.v[i] *= b.v[i]; return a; }
inline V div(V a, V b) { OWNLM_LANES a.v[i] /= b.v[i]; return a; }
inline V fma(V a, V b, V c) { OWNLM_LANES a.v[i] = a.v[i] * b.v[i] + c.v[i]; return a; }
inline V vmax(V a, V b) { OWNLM_LANES a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
inline V vmin(V a, V b) { OWNLM_LANES a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
inline V vabs(V a) { OWNLM_LANES a.v[i] = a.v[i] < 0 ? -a.v[i] : a.v[i]; return a; }
inline float sum(V a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
inline float maximum(V a) {
  float m = a.v[0];
  for (int i = 1; i < 4; ++i) m = a.v[i] > m ? a.v[i] : m;
  return m;
}
// 2^n for whole n in [-126, 127]
inline V pow2(V n) {
  V r;
  OWNLM_LANES {
    int32_t bits = (static_cast<int32_t>(n.v[i]) + 127) << 23;
    std::memcpy(&r.v[i], &bits, 4);
  }
  return r;
}
// to the nearest whole number, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits for the fraction
inline V nearest(V x) { V m = set1(12582912.0f); return sub(add(x, m), m); }

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
inline V load_half(const uint16_t* p) { V r; OWNLM_LANES r.v[i] = half_to_float(p[i]); return r; }
inline V load_i8(const int8_t* p) { V r; OWNLM_LANES r.v[i] = static_cast<float>(p[i]); return r; }
// stores whole numbers in [-128, 127] as bytes and adds them to the running sum
inline void store_i8(int8_t* p, V a, int32_t& total) {
  OWNLM_LANES {
    p[i] = static_cast<int8_t>(a.v[i]);
    total += p[i];
  }
}
#undef OWNLM_LANES

}  // namespace
}  // namespace ownlm
