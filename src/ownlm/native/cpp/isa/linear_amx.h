// Linear layers of many rows over tile registers. Included after linear.h, whose code computes all else.
//
// A product of tiles is one group of one panel: rows [up to 16][32 activations] by weights [8][16 columns][4]. Its whole numbers go
// to memory and are scaled and added as tile_avx512.h does, group after group: the same bits. A group fills half of a tile's
// depth, since every group has its scales.
#pragma once

namespace ownlm {
namespace {

constexpr int64_t kAmxRows = 16;          // of a tile; fewer rows are computed without tiles
constexpr int64_t kAmxTiles = 4;          // that share unpacked weights
constexpr int64_t kAmxGroups = 8;         // unpacked at a time
constexpr int kGroupWeights = kGroup * kPanel;

// The weights of a group and panel as signed bytes [8][16][4]: no offset is left to be added.
template <Format F>
inline void unpack_signed(const uint8_t* b, int8_t* to) {
  if constexpr (F == Format::q4_0) {
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    OWNLM_UNROLL for (int j = 0; j < 4; ++j) {
      const __m512i both = _mm512_load_si512(b + j * 64);
      _mm512_store_si512(to + j * 64, _mm512_sub_epi8(_mm512_and_si512(both, low), eight));
      _mm512_store_si512(to + (j + 4) * 64, _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), eight));
    }
  } else {
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    OWNLM_UNROLL for (int j = 0; j < 8; ++j) _mm512_store_si512(to + j * 64, _mm512_xor_si512(_mm512_load_si512(b + j * 64), flip));
  }
}

template <int A, int B, int C, int M>
inline void add_group(const uint8_t* x, int64_t stride, const int8_t* weights, const uint16_t* scales, int32_t* products, V* f) {
  tile_load<B>(weights, 4 * kPanel);
  tile_load<A>(x + offsetof(ActivationGroup, q), stride);
  tile_zero<C>();
  tile_dot<C, A, B>();
  tile_store<C>(products, 4 * kPanel);
  const V scale = load_half(scales);
  OWNLM_UNROLL for (int m = 0; m < M; ++m) {
    const float t = reinterpret_cast<const ActivationGroup*>(x + m * stride)->scale;
    f[m] = fma(_mm512_cvtepi32_ps(_mm512_load_si512(products + m * kPanel)), mul(scale, set1(t)), f[m]);
  }
}

// c += the products of M rows and `count` groups. Two heights of tiles occur: each has registers of its own.
template <int M, bool Taller>
inline void add_groups(int64_t count, const uint8_t* x, int64_t stride, const int8_t* weights, const uint16_t* scales, float* c) {
  constexpr int A = Taller ? 3 : 2, C = Taller ? 6 : 4, kStep = sizeof(ActivationGroup);
  alignas(64) int32_t products[2][kAmxRows * kPanel];
  V f[M];
  OWNLM_UNROLL for (int m = 0; m < M; ++m) f[m] = load(c + m * kTileColumns);
  int64_t g = 0;
  for (; g + 2 <= count; g += 2, x += 2 * kStep, weights += 2 * kGroupWeights, scales += 2 * kPanel) {
    add_group<A, 0, C, M>(x, stride, weights, scales, products[0], f);
    add_group<A, 1, C + 1, M>(x + kStep, stride, weights + kGroupWeights, scales + kPanel, products[1], f);
  }
  if (g < count) add_group<A, 0, C, M>(x, stride, weights, scales, products[0], f);
  OWNLM_UNROLL for (int m = 0; m < M; ++m) store(c + m * kTileColumns, f[m]);
}

template <bool Taller, int M = kAmxRows>
inline void add_tile(int64_t rows, int64_t count, const uint8_t* x, int64_t stride, const int8_t* weights, const uint16_t* scales, float* c) {
  if constexpr (M > kAmxRows / 2)
    if (rows < M) return add_tile<Taller, M - 1>(rows, count, x, stride, weights, scales, c);
  add_groups<M, Taller>(count, x, stride, weights, scales, c);
}

template <Format F>
inline void linear_of_tiles(const Linear& l, const Activations& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  constexpr int kBytes = kGroupWeights / (F == Format::q4_0 ? 2 : 1), kAhead = 3072;
  const int64_t tiles = (rows + kAmxRows - 1) / kAmxRows, height = rows / tiles, taller = rows % tiles, groups = l.w.k / kGroup;
  TileShapes shapes;
  for (int t = 0; t < 2; ++t) {
    shapes.set(t, kGroup / 4, 4 * kPanel);             // weights
    shapes.set(2 + t, height + (taller ? t : 0), kGroup);  // activations
    for (int c = 0; c < 2; ++c) shapes.set(4 + 2 * t + c, height + (taller ? t : 0), 4 * kPanel);  // products
  }
  tiles_shape(shapes);
  alignas(64) float c[kAmxTiles * kAmxRows * kTileColumns];
  alignas(64) int8_t weights[kAmxGroups * kGroupWeights];
  for (int64_t p = panel0; p < panel1; p += 2) {
    const int64_t two = p + 1 < panel1 ? 2 : 1, column = l.w.glu ? p / 2 * kPanel : p * kPanel;
    for (int64_t t0 = 0, row = row0; t0 < tiles; t0 += kAmxTiles) {
      const int64_t t1 = t0 + kAmxTiles < tiles ? t0 + kAmxTiles : tiles;
      const int64_t m = (t1 - t0) * height + (taller > t0 ? (taller < t1 ? taller : t1) - t0 : 0);
      for (int64_t i = 0; i < m * kTileColumns; i += kWidth) store(c + i, set1(0.0f));
      for (int64_t h = 0; h < two; ++h)
        for (int64_t g0 = 0; g0 < groups; g0 += kAmxGroups) {
          const int64_t count = g0 + kAmxGroups < groups ? kAmxGroups : groups - g0, at = (p + h) * groups + g0;
          for (int64_t g = 0; g < count; ++g) {
            for (int i = 0; i < kBytes; i += 64) OWNLM_PREFETCH(l.w.data + (at + g) * kBytes + kAhead + i);
            unpack_signed<F>(l.w.data + (at + g) * kBytes, weights + g * kGroupWeights);
          }
          const uint16_t* scales = l.w.scales + at * kPanel;
          for (int64_t t = t0, r = 0; t < t1; ++t) {
            const int64_t n = height + (t < taller);
            const uint8_t* from = x.rows + (row + r) * x.stride + g0 * static_cast<int64_t>(sizeof(ActivationGroup));
            (t < taller ? add_tile<true> : add_tile<false>)(n, count, from, x.stride, weights, scales, c + r * kTileColumns + h * kPanel);
            r += n;
          }
        }
      if (l.w.glu) finish_glu(l, row, m, column, c);
      else finish(l, row, m, column, two * kPanel, c);
      row += m;
    }
  }
  tiles_release();
}

inline void linear_amx(const Linear& l, const Activations& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  if (rows >= kAmxRows && l.w.format == Format::q4_0) return linear_of_tiles<Format::q4_0>(l, x, row0, rows, panel0, panel1);
  if (rows >= kAmxRows && l.w.format == Format::q8_0) return linear_of_tiles<Format::q8_0>(l, x, row0, rows, panel0, panel1);
  linear(l, x, row0, rows, panel0, panel1);
}

}  // namespace
}  // namespace ownlm
