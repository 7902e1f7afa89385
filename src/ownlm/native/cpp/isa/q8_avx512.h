// Q8_0 products with vpdpbusd: one instruction multiplies 4 weights of each of 16 columns by 4 activations of a row.
#pragma once

namespace ownlm {
namespace {

template <int M, int P>
inline void tile_q8(const uint8_t* w, int64_t w_stride, const uint16_t* ws, int64_t ws_stride, const int8_t* q, const float* scale,
                    const int32_t* offset, int64_t groups, float* c, int64_t ldc) {
  const int64_t k = groups * kGroup;
  __m512 f[M][P];
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int p = 0; p < P; ++p) f[m][p] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    __m512i acc[M][P];
    OWNLM_UNROLL for (int m = 0; m < M; ++m)
      OWNLM_UNROLL for (int p = 0; p < P; ++p) acc[m][p] = _mm512_set1_epi32(offset[m * groups + g]);
    OWNLM_UNROLL for (int j = 0; j < 8; ++j) {
      __m512i b[P];
      OWNLM_UNROLL for (int p = 0; p < P; ++p) b[p] = _mm512_load_si512(w + p * w_stride + g * (kGroup * kPanel) + j * 64);
      OWNLM_UNROLL for (int m = 0; m < M; ++m) {
        int32_t four;
        __builtin_memcpy(&four, q + m * k + g * kGroup + j * 4, 4);
        const __m512i a = _mm512_set1_epi32(four);
        OWNLM_UNROLL for (int p = 0; p < P; ++p) acc[m][p] = _mm512_dpbusd_epi32(acc[m][p], b[p], a);
      }
    }
    __m512 s[P];
    OWNLM_UNROLL for (int p = 0; p < P; ++p) s[p] = load_half(ws + p * ws_stride + g * kPanel);
    OWNLM_UNROLL for (int m = 0; m < M; ++m) {
      const __m512 t = _mm512_set1_ps(scale[m * groups + g]);
      OWNLM_UNROLL for (int p = 0; p < P; ++p) f[m][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[m][p]), _mm512_mul_ps(s[p], t), f[m][p]);
    }
  }
  OWNLM_UNROLL for (int m = 0; m < M; ++m)
    OWNLM_UNROLL for (int p = 0; p < P; ++p) _mm512_storeu_ps(c + m * ldc + p * kPanel, f[m][p]);
}

template <int P>
inline void tile_q8_rows(int m, const uint8_t* w, int64_t w_stride, const uint16_t* ws, int64_t ws_stride, const int8_t* q,
                         const float* scale, const int32_t* offset, int64_t groups, float* c, int64_t ldc) {
  switch (m) {
#define OWNLM_CASE(M) case M: tile_q8<M, P>(w, w_stride, ws, ws_stride, q, scale, offset, groups, c, ldc); break;
    OWNLM_CASE(1) OWNLM_CASE(2) OWNLM_CASE(3) OWNLM_CASE(4) OWNLM_CASE(5) OWNLM_CASE(6)
#undef OWNLM_CASE
  }
}

inline void linear_q8_0(const Linear& l, const Quantized& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  constexpr int kRows = 6;
  const int64_t k = l.w.k, groups = k / kGroup, w_stride = k * kPanel, ws_stride = groups * kPanel;
  alignas(64) float c[kRowBlock * 2 * kPanel];
  for (int64_t p = panel0; p < panel1; p += 2) {
    const bool two = p + 1 < panel1;
    const uint8_t* w = l.w.data + p * w_stride;
    const uint16_t* ws = l.w.scales + p * ws_stride;
    for (int64_t m = 0; m < rows; m += kRows) {
      const int count = static_cast<int>(rows - m < kRows ? rows - m : kRows);
      prefetch_epilogue(l, row0 + m, count, p * kPanel, two ? 2 * kPanel : kPanel);
      const auto tile = two ? tile_q8_rows<2> : tile_q8_rows<1>;
      tile(count, w, w_stride, ws, ws_stride, x.q + m * k, x.scale + m * groups, x.offset + m * groups, groups, c + m * 2 * kPanel,
           2 * kPanel);
    }
    epilogue(l, row0, rows, p * kPanel, two ? 2 * kPanel : kPanel, c, 2 * kPanel);
  }
}

// sum (v + 128) q - 128 sum q, exact in int32 for widths up to 65536
inline void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  int32_t total = 0;
  for (int64_t i = 0; i < width; ++i) total += query[i];
  for (int64_t row = 0; row < rows; ++row) {
    const int8_t* v = vectors + row * width;
    __m512i acc = _mm512_setzero_si512();
    for (int64_t i = 0; i < width; i += 64) {
      const __mmask64 m = width - i >= 64 ? ~0ull : (1ull << (width - i)) - 1;
      const __m512i a = _mm512_xor_si512(_mm512_maskz_loadu_epi8(m, v + i), flip);
      acc = _mm512_dpbusd_epi32(acc, a, _mm512_maskz_loadu_epi8(m, query + i));
    }
    out[row] = _mm512_reduce_add_epi32(acc) - 128 * total;
  }
}

}  // namespace
}  // namespace ownlm
