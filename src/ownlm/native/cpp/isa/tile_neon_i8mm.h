// Tiles of Q8_0 and Q4_0 weights with smmla: one instruction multiplies 8 weights of each of 2 columns by 8 activations of each of 2
// rows. Included by tile_neon.h, which computes single rows.
#pragma once

namespace ownlm {
namespace {

// Word j of a group, 4 inputs of columns 4 n .. 4 n + 3, as signed bytes.
template <Format F>
inline int32x4_t signed_word(const uint8_t* b, int j, int n) {
  if constexpr (F == Format::q8_0) return vreinterpretq_s32_u8(veorq_u8(vld1q_u8(b + j * 64 + n * 16), vdupq_n_u8(128)));
  const uint8x16_t both = vld1q_u8(b + j % 4 * 64 + n * 16);
  const uint8x16_t nibbles = j < 4 ? vandq_u8(both, vdupq_n_u8(15)) : vshrq_n_u8(both, 4);
  return vreinterpretq_s32_s8(vsubq_s8(vreinterpretq_s8_u8(nibbles), vdupq_n_s8(8)));
}

template <Format F, int M>
inline void tile_of_pairs(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = kGroup * kPanel / (F == Format::q4_0 ? 2 : 1), kAhead = 2048, kPairs = (M + 1) / 2;
  const int64_t groups = w.k / kGroup;
  const uint8_t* b = w.data + panel * groups * kBytes;
  const uint16_t* s = w.scales + panel * groups * kPanel;
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) store(c + m * kTileColumns + n * kWidth, set1(0.0f));
  for (int64_t g = 0; g < groups; ++g, b += kBytes, s += kPanel, x += sizeof(ActivationGroup)) {
    OWNLM_UNROLL for (int i = 0; i < kBytes; i += 64) OWNLM_PREFETCH(b + kAhead + i);
    int32x4_t acc[kPairs][2 * kPerPanel];  // two rows by two columns each
    OWNLM_UNROLL for (int p = 0; p < kPairs; ++p)
      OWNLM_UNROLL for (int n = 0; n < 2 * kPerPanel; ++n) acc[p][n] = vdupq_n_s32(0);
    OWNLM_UNROLL for (int j = 0; j < 8; j += 2) {
      int8x16_t a[kPairs];
      OWNLM_UNROLL for (int p = 0; p < kPairs; ++p) {  // an odd last row stands beside itself
        const int8_t* first = reinterpret_cast<const ActivationGroup*>(x + 2 * p * stride)->q;
        const int8_t* second = reinterpret_cast<const ActivationGroup*>(x + (2 * p + 1 < M ? 2 * p + 1 : 2 * p) * stride)->q;
        a[p] = vcombine_s8(vld1_s8(first + 4 * j), vld1_s8(second + 4 * j));
      }
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
        const int32x4_t v0 = signed_word<F>(b, j, n), v1 = signed_word<F>(b, j + 1, n);
        const int8x16_t left = vreinterpretq_s8_s32(vzip1q_s32(v0, v1)), right = vreinterpretq_s8_s32(vzip2q_s32(v0, v1));
        OWNLM_UNROLL for (int p = 0; p < kPairs; ++p) {
          acc[p][2 * n] = vmmlaq_s32(acc[p][2 * n], a[p], left);
          acc[p][2 * n + 1] = vmmlaq_s32(acc[p][2 * n + 1], a[p], right);
        }
      }
    }
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const V t = set1(reinterpret_cast<const ActivationGroup*>(x + m * stride)->scale);
      OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) {
        const int64x2_t left = vreinterpretq_s64_s32(acc[m / 2][2 * n]), right = vreinterpretq_s64_s32(acc[m / 2][2 * n + 1]);
        const int32x4_t row = vreinterpretq_s32_s64(m % 2 ? vzip2q_s64(left, right) : vzip1q_s64(left, right));
        float* to = c + m * kTileColumns + n * kWidth;
        store(to, fma(vcvtq_f32_s32(row), mul(load_half(s + n * kWidth), t), load(to)));
      }
    }
  }
}

template <Format F, int M>
inline void tile_of_groups(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  if constexpr (M == 1) tile_of_dots<F, M>(w, panel, x, stride, c);
  else tile_of_pairs<F, M>(w, panel, x, stride, c);
}

}  // namespace
}  // namespace ownlm
