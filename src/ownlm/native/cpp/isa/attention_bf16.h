// Attention with bfloat16 products and float sums: vdpbf16ps multiplies pairs, twice as many a cycle as float.
#pragma once

namespace ownlm {
namespace {

inline __m512 dot_pairs(__m512 acc, int32_t pair, __m512i b) {
  return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)b);
}
inline __m256i to_bf16(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

// tile_f32 over pairs: a [m][pairs], b [pairs][16], both two bfloat16 in 32 bits.
template <int M, int P>
inline void tile_bf16(const int32_t* a, int64_t lda, const int32_t* b, int64_t panel_stride, int64_t pairs, float* c, int64_t ldc) {
  __m512 acc[M][P];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int p = 0; p < P; ++p) acc[m][p] = _mm512_setzero_ps();
  for (int64_t i = 0; i < pairs; ++i) {
    __m512i w[P];
    OWNLM_UNROLL for (int p = 0; p < P; ++p) w[p] = _mm512_loadu_si512(b + p * panel_stride + i * kPanel);
    OWNLM_UNROLL for (int m = 0; m < M; ++m)
      OWNLM_UNROLL for (int p = 0; p < P; ++p) acc[m][p] = dot_pairs(acc[m][p], a[m * lda + i], w[p]);
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int p = 0; p < P; ++p) _mm512_storeu_ps(c + m * ldc + p * kPanel, acc[m][p]);
}

// Every panel of b: c [m][16 panels]
inline void product_bf16(int m, const int32_t* a, int64_t lda, const int32_t* b, int64_t panels, int64_t pairs, float* c, int64_t ldc) {
  const int64_t stride = pairs * kPanel;
  for (int64_t p = 0; p < panels; p += 2, b += 2 * stride, c += 2 * kPanel) {
    switch (m * 2 + (p + 1 < panels)) {
#define OWNLM_CASE(M)                                                         \
  case M * 2: tile_bf16<M, 1>(a, lda, b, stride, pairs, c, ldc); break;       \
  case M * 2 + 1: tile_bf16<M, 2>(a, lda, b, stride, pairs, c, ldc); break;
      OWNLM_CASE(1) OWNLM_CASE(2) OWNLM_CASE(3) OWNLM_CASE(4) OWNLM_CASE(5) OWNLM_CASE(6)
      OWNLM_CASE(7) OWNLM_CASE(8) OWNLM_CASE(9) OWNLM_CASE(10) OWNLM_CASE(11) OWNLM_CASE(12)
#undef OWNLM_CASE
    }
  }
}

// d floats, scaled, to whole 16-value steps of bfloat16
inline void row_to_bf16(const float* x, int64_t d, float scale, void* to) {
  for (int64_t i = 0; i < d; i += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<uint16_t*>(to) + i),
                        to_bf16(mul(load_n(x + i, static_cast<int>(d - i < 16 ? d - i : 16)), set1(scale))));
}

inline void attention_bf16(const Attention& a) {
  const int64_t length = a.length, keys = padded(length), values = padded(a.head_dim), d_pairs = values / 2;
  int32_t* k = reinterpret_cast<int32_t*>(a.scratch);    // [keys/16][d_pairs][16]
  int32_t* v = k + keys * d_pairs;                       // [values/16][keys/2][16]
  int32_t* q = v + values * keys / 2;                    // [tile][d_pairs]
  int32_t* weights = q + kMaxTile * d_pairs;             // [tile][keys/2]
  float* scores = reinterpret_cast<float*>(weights + kMaxTile * keys / 2);  // [tile][keys]
  float* result = scores + kMaxTile * keys;              // [tile][values]
  for (int64_t t = 0; t < keys; ++t) {
    if (t < length) row_to_bf16(a.qkv + t * a.stride + a.key_offset, a.head_dim, 1.0f, q);  // q is free until the first tile
    int32_t* to = k + t / kPanel * kPanel * d_pairs + t % kPanel;
    for (int64_t i = 0; i < d_pairs; ++i) to[i * kPanel] = t < length ? q[i] : 0;
  }
  for (int64_t t = 0; t < keys; t += 2)
    for (int64_t i = 0; i < values; i += kPanel) {
      const int count = static_cast<int>(a.head_dim - i);
      const float* x = a.qkv + t * a.stride + 2 * a.key_offset + i;
      const __m512 even = t < length ? load_n(x, count) : set1(0.0f);
      const __m512 odd = t + 1 < length ? load_n(x + a.stride, count) : set1(0.0f);
      const __m512i pair = _mm512_or_si512(_mm512_cvtepu16_epi32(to_bf16(even)),
                                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(to_bf16(odd)), 16));
      _mm512_storeu_si512(v + i / kPanel * kPanel * (keys / 2) + t / 2 * kPanel, pair);
    }
  for (int64_t q0 = a.q0; q0 < a.q1; q0 += kMaxTile) {
    const int rows = static_cast<int>(a.q1 - q0 < kMaxTile ? a.q1 - q0 : kMaxTile);
    for (int m = 0; m < rows; ++m)
      row_to_bf16(a.qkv + (q0 + m) * a.stride, a.head_dim, a.scale * 1.4426950408889634f, q + m * d_pairs);
    product_bf16(rows, q, d_pairs, k, keys / kPanel, d_pairs, scores, keys);
    float inverse[kMaxTile];
    for (int m = 0; m < rows; ++m) {
      float* row = scores + m * keys;
      const int rest = static_cast<int>(length - (keys - kPanel));
      _mm512_mask_storeu_ps(row + keys - kPanel, static_cast<__mmask16>(~mask(rest)), set1(-3.0e38f));
      V peak = load(row);
      for (int64_t t = kWidth; t < keys; t += kWidth) peak = vmax(peak, load(row + t));
      const V most = set1(maximum(peak));
      V total = set1(0.0f);
      uint16_t* to = reinterpret_cast<uint16_t*>(weights + m * (keys / 2));
      for (int64_t t = 0; t < keys; t += kWidth) {
        const V e = _mm512_maskz_mov_ps(mask(static_cast<int>(length - t < 16 ? length - t : 16)), exp2_nonpositive(sub(load(row + t), most)));
        total = add(total, e);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + t), to_bf16(e));
      }
      inverse[m] = 1.0f / sum(total);
    }
    product_bf16(rows, weights, keys / 2, v, values / kPanel, keys / 2, result, values);
    for (int m = 0; m < rows; ++m)
      for (int64_t i = 0; i < a.head_dim; i += kWidth)
        store_n(a.out + (q0 + m) * a.out_stride + i, mul(load(result + m * values + i), set1(inverse[m])),
                static_cast<int>(a.head_dim - i < kWidth ? a.head_dim - i : kWidth));
  }
}

}  // namespace
}  // namespace ownlm
