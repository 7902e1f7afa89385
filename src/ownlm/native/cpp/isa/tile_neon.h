// Tiles of Q8_0 and Q4_0 weights with sdot: one instruction multiplies 4 weights of each of 4 columns by 4 activations of a row.
// Weights are made signed where they are loaded, so the activations' offsets are not needed.
#pragma once

namespace ownlm {
namespace {

constexpr int kGroupRows = 4;  // their sums as integers and as floats fill the registers

template <Format F, int M>
inline void tile_of_dots(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = kGroup * kPanel / (F == Format::q4_0 ? 2 : 1), kAhead = 2048;
  const int64_t groups = w.k / kGroup;
  const uint8_t* b = w.data + panel * groups * kBytes;
  const uint16_t* s = w.scales + panel * groups * kPanel;
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) store(c + m * kTileColumns + n * kWidth, set1(0.0f));
  for (int64_t g = 0; g < groups; ++g, b += kBytes, s += kPanel, x += sizeof(ActivationGroup)) {
    OWNLM_UNROLL for (int i = 0; i < kBytes; i += 64) OWNLM_PREFETCH(b + kAhead + i);
    int32x4_t acc[M][kPerPanel];
    int8x16_t a[M][2];
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const int8_t* q = reinterpret_cast<const ActivationGroup*>(x + m * stride)->q;
      a[m][0] = vld1q_s8(q);
      a[m][1] = vld1q_s8(q + 16);
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) acc[m][n] = vdupq_n_s32(0);
    }
    // inputs 4 j .. 4 j + 3 of the half h of a group, against columns 4 n ..
#define OWNLM_DOT(h, j, n, v) OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m][n] = vdotq_laneq_s32(acc[m][n], v, a[m][h], j);
#define OWNLM_WORDS(j)                                                                                  \
  OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {                                                    \
    if constexpr (F == Format::q4_0) {                                                                  \
      const uint8x16_t both = vld1q_u8(b + j * 64 + n * 16);                                            \
      const int8x16_t eight = vdupq_n_s8(8);                                                            \
      const int8x16_t low = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))), eight);       \
      const int8x16_t high = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), eight);                 \
      OWNLM_DOT(0, j, n, low)                                                                           \
      OWNLM_DOT(1, j, n, high)                                                                          \
    } else {                                                                                            \
      const uint8x16_t flip = vdupq_n_u8(128);                                                          \
      const int8x16_t low = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(b + j * 64 + n * 16), flip));         \
      const int8x16_t high = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(b + (j + 4) * 64 + n * 16), flip));  \
      OWNLM_DOT(0, j, n, low)                                                                           \
      OWNLM_DOT(1, j, n, high)                                                                          \
    }                                                                                                   \
  }
    OWNLM_WORDS(0) OWNLM_WORDS(1) OWNLM_WORDS(2) OWNLM_WORDS(3)
#undef OWNLM_WORDS
#undef OWNLM_DOT
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V t = set1(reinterpret_cast<const ActivationGroup*>(x + m * stride)->scale);
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
        float* to = c + m * kTileColumns + n * kWidth;
        store(to, fma(vcvtq_f32_s32(acc[m][n]), mul(load_half(s + n * kWidth), t), load(to)));
      }
    }
  }
}

}  // namespace
}  // namespace ownlm

#ifdef OWNLM_I8MM
#include "tile_neon_i8mm.h"
#else
namespace ownlm {
namespace {

template <Format F, int M>
inline void tile_of_groups(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  tile_of_dots<F, M>(w, panel, x, stride, c);
}

}  // namespace
}  // namespace ownlm
#endif
