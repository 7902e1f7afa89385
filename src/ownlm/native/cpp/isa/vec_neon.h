// A vector of 4 floats: NEON of AArch64.
#pragma once
#include <arm_neon.h>
#include <cstdint>
#include <cstring>

namespace ownlm {
namespace {

using V = float32x4_t;
constexpr int kWidth = 4;

inline V load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, V a) { vst1q_f32(p, a); }
inline V load_n(const float* p, int n) {
  if (n >= 4) return load(p);
  float lanes[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return vld1q_f32(lanes);
}
inline void store_n(float* p, V a, int n) {
  if (n >= 4) return store(p, a);
  float lanes[4];
  vst1q_f32(lanes, a);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
inline V set1(float x) { return vdupq_n_f32(x); }
inline V add(V a, V b) { return vaddq_f32(a, b); }
inline V sub(V a, V b) { return vsubq_f32(a, b); }
inline V mul(V a, V b) { return vmulq_f32(a, b); }
inline V div(V a, V b) { return vdivq_f32(a, b); }
inline V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
inline V vmax(V a, V b) { return vmaxq_f32(a, b); }
inline V vmin(V a, V b) { return vminq_f32(a, b); }
inline V vabs(V a) { return vabsq_f32(a); }
inline float sum(V a) { return vaddvq_f32(a); }
inline float maximum(V a) { return vmaxvq_f32(a); }
// 2^n for whole n in [-126, 127]
inline V pow2(V n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23)); }
inline V nearest(V x) { return vrndnq_f32(x); }
inline V load_half(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
inline float half_to_float(uint16_t h) { return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0); }
inline V load_i8(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
}
// even and odd halves of 4 pairs of bfloat16
inline V load_even(const int32_t* p) { return vreinterpretq_f32_s32(vshlq_n_s32(vld1q_s32(p), 16)); }
inline V load_odd(const int32_t* p) { return vreinterpretq_f32_s32(vandq_s32(vld1q_s32(p), vdupq_n_s32(-65536))); }
// stores a group of whole numbers in [-128, 127] as bytes; returns their sum
inline int32_t store_group(int8_t* p, const V* v) {
  int32x4_t total = vdupq_n_s32(0);
  for (int i = 0; i < 8; i += 2) {
    const int32x4_t a = vcvtq_s32_f32(v[i]), b = vcvtq_s32_f32(v[i + 1]);
    vst1_s8(p + 4 * i, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
    total = vaddq_s32(total, vaddq_s32(a, b));
  }
  return vaddvq_s32(total);
}

}  // namespace
}  // namespace ownlm
