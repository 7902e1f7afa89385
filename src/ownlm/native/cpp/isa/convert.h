// Activations in the terms of a weight's format.
#pragma once

namespace ownlm {
namespace {

inline void to_groups(const float* x, int64_t k, int32_t zero, uint8_t* to) {
  constexpr int N = kGroup / kWidth;
  for (int64_t i = 0; i < k; i += kGroup, to += sizeof(ActivationGroup)) {
    V v[N];
    V peak = set1(0.0f);
    OWNLM_UNROLL for (int n = 0; n < N; ++n) {
      v[n] = load(x + i + n * kWidth);
      peak = vmax(peak, vabs(v[n]));
    }
    const float amax = maximum(peak);
    // below 1e-36 the reciprocal would overflow; such a group is zero to float precision of anything it is added to
    const float inverse = amax > 1e-36f ? 127.0f / amax : 0.0f;
    OWNLM_UNROLL for (int n = 0; n < N; ++n) v[n] = nearest(mul(v[n], set1(inverse)));
    ActivationGroup* group = reinterpret_cast<ActivationGroup*>(to);
    group->scale = amax / 127.0f;
    group->offset = -zero * store_group(group->q, v);
  }
}

inline void to_k_groups(const float* x, int64_t k, uint8_t* to) {
  ActivationGroup plain;
  for (int64_t i = 0; i < k; i += kGroup, to += sizeof(KActivationGroup)) {
    to_groups(x + i, kGroup, -1, reinterpret_cast<uint8_t*>(&plain));
    KActivationGroup* group = reinterpret_cast<KActivationGroup*>(to);
    int32_t first = 0;
    for (int j = 0; j < kGroup / 2; ++j) first += plain.q[j];
    group->scale = plain.scale;
    group->weighted = plain.scale * static_cast<float>(plain.offset);
    group->offset[0] = -32 * first;
    group->offset[1] = -32 * (plain.offset - first);
    memcpy(group->q, plain.q, sizeof plain.q);
  }
}

// The bits of the nearest bfloat16, ties to even, in the upper half; NaN stays NaN.
inline uint32_t rounded_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t nearest = bits + 0x7fffu + (bits >> 16 & 1u), nan = bits | 0x400000u;
  return ((bits & 0x7fffffffu) > 0x7f800000u ? nan : nearest) & 0xffff0000u;
}

inline void to_bf16_row(const float* x, int64_t k, uint8_t* to) {
#if defined(OWNLM_BF16_PRODUCTS)
  uint16_t* out = reinterpret_cast<uint16_t*>(to);
  for (int64_t i = 0; i < k; ++i) out[i] = static_cast<uint16_t>(rounded_bf16(x[i]) >> 16);
  if (k % 2) out[k] = 0;
#else
  float* out = reinterpret_cast<float*>(to);
  for (int64_t i = 0; i < k; ++i) {
    const uint32_t bits = rounded_bf16(x[i]);
    memcpy(out + i, &bits, 4);
  }
  if (k % 2) out[k] = 0.0f;
#endif
}

inline void convert(Format format, const float* x, int64_t x_stride, int64_t rows, int64_t k, uint8_t* to) {
  for (int64_t row = 0; row < rows; ++row, x += x_stride, to += activation_bytes(format, k)) {
    if (format == Format::bf16) to_bf16_row(x, k, to);
    else if (is_k(format)) to_k_groups(x, k, to);
    else to_groups(x, k, format == Format::q8_0 ? 128 : 8, to);
  }
}

}  // namespace
}  // namespace ownlm
