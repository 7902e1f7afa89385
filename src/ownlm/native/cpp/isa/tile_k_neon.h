// Tiles of K weights with sdot. Weights reach 63: as signed bytes they are what they are, so no offsets are needed.
#pragma once

namespace ownlm {
namespace {

// Weights 4 j .. 4 j + 3 of columns 4 n .. 4 n + 3, of the group at b; of Q6_K less 32.
template <Format F, int J>
inline int8x16_t k_words(const uint8_t* b, int n) {
  const uint8x16_t both = vld1q_u8(b + J % 4 * 64 + n * 16);
  uint8x16_t v;
  if constexpr (J < 4) v = vandq_u8(both, vdupq_n_u8(15));
  else v = vshrq_n_u8(both, 4);
  if constexpr (F == Format::q5_k) v = vorrq_u8(v, vandq_u8(vshlq_u8(vld1q_u8(b + 256 + n * 16), vdupq_n_s8(4 - J)), vdupq_n_u8(0x10)));
  if constexpr (F == Format::q6_k) {
    const uint8x16_t high = vshlq_u8(vld1q_u8(b + 256 + J / 4 * 64 + n * 16), vdupq_n_s8(4 - 2 * (J % 4)));
    return vsubq_s8(vreinterpretq_s8_u8(vorrq_u8(v, vandq_u8(high, vdupq_n_u8(0x30)))), vdupq_n_s8(32));
  }
  return vreinterpretq_s8_u8(v);
}

inline V load_u8(const uint8_t* p) {
  uint32_t four;
  std::memcpy(&four, p, 4);
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))))));
}

template <Format F, int M>
inline void tile_of_k(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  constexpr int kBytes = F == Format::q4_k ? 256 : F == Format::q5_k ? 320 : 384, kScales = F == Format::q6_k ? 288 : 320, kAhead = 2048;
  const int64_t blocks = w.k / kSuper;
  const uint8_t* b = w.data + panel * blocks * 8 * kBytes;
  const uint8_t* s = reinterpret_cast<const uint8_t*>(w.scales) + panel * blocks * kScales;
  const auto group = [&](int m) __attribute__((always_inline)) { return reinterpret_cast<const KActivationGroup*>(x + m * stride); };
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int n = 0; n < kPerPanel; ++n) store(c + m * kTileColumns + n * kWidth, set1(0.0f));
  for (int64_t i = 0; i < blocks; ++i, s += kScales)
    for (int g = 0; g < 8; ++g, b += kBytes, x += sizeof(KActivationGroup)) {
      OWNLM_UNROLL for (int n = 0; n < kBytes; n += 64) OWNLM_PREFETCH(b + kAhead + n);
      int8x16_t a[M][2];
      OWNLM_UNROLL for (int m = 0; m < M; ++m) {
        a[m][0] = vld1q_s8(group(m)->q);
        a[m][1] = vld1q_s8(group(m)->q + 16);
      }
      for (int n = 0; n < kPerPanel; ++n) {
        const V d = load_half(reinterpret_cast<const uint16_t*>(s) + n * kWidth);
        int32x4_t acc[M];
        OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = vdupq_n_s32(0);
        const auto add_scaled = [&](V scale) __attribute__((always_inline)) {
          OWNLM_UNROLL for (int m = 0; m < M; ++m) {
            float* to = c + m * kTileColumns + n * kWidth;
            store(to, fma(vcvtq_f32_s32(acc[m]), mul(scale, set1(group(m)->scale)), load(to)));
          }
        };
#define OWNLM_K_WORD(j)                                                                                 \
  {                                                                                                     \
    const int8x16_t v = k_words<F, j>(b, n);                                                            \
    OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = vdotq_laneq_s32(acc[m], v, a[m][j / 4], j % 4);   \
  }
        OWNLM_K_WORD(0) OWNLM_K_WORD(1) OWNLM_K_WORD(2) OWNLM_K_WORD(3)
        if constexpr (F == Format::q6_k) {
          const int8_t* scales = reinterpret_cast<const int8_t*>(s) + 32 + 2 * g * kPanel + n * kWidth;
          add_scaled(mul(d, load_i8(scales)));
          OWNLM_UNROLL for (int m = 0; m < M; ++m) acc[m] = vdupq_n_s32(0);
          OWNLM_K_WORD(4) OWNLM_K_WORD(5) OWNLM_K_WORD(6) OWNLM_K_WORD(7)
          add_scaled(mul(d, load_i8(scales + kPanel)));
        } else {
          OWNLM_K_WORD(4) OWNLM_K_WORD(5) OWNLM_K_WORD(6) OWNLM_K_WORD(7)
          add_scaled(mul(d, load_u8(s + 64 + g * kPanel + n * kWidth)));
          const V minimum = mul(load_half(reinterpret_cast<const uint16_t*>(s + 32) + n * kWidth), load_u8(s + 192 + g * kPanel + n * kWidth));
          OWNLM_UNROLL for (int m = 0; m < M; ++m) {
            float* to = c + m * kTileColumns + n * kWidth;
            store(to, fma(minimum, set1(-group(m)->weighted), load(to)));
          }
        }
#undef OWNLM_K_WORD
      }
    }
}

}  // namespace
}  // namespace ownlm
