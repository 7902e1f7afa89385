// Linear layers over tiles, and what is done to a tile's sums. Included after tile_*.h and math.h.
#pragma once

namespace ownlm {
namespace {

constexpr int most_rows(Format f) { return f == Format::f32 || f == Format::bf16 ? OWNLM_TILE_ROWS : kGroupRows; }
constexpr int most_panels(Format f) { return f == Format::f32 || f == Format::bf16 ? OWNLM_TILE_PANELS : 1; }

template <Format F, int M, int P>
inline void tile(const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  if constexpr (F == Format::f32) tile_of_floats<M, P>(w, panel, x, stride, c);
  else if constexpr (F == Format::bf16) tile_of_bf16<M, P>(w, panel, x, stride, c);
  else if constexpr (is_k(F)) tile_of_k<F, M>(w, panel, x, stride, c);
  else tile_of_groups<F, M>(w, panel, x, stride, c);
}

// The tile of m rows, 1 <= m <= M.
template <Format F, int P, int M>
inline void tile_rows(int64_t m, const Packed& w, int64_t panel, const uint8_t* x, int64_t stride, float* c) {
  if constexpr (M > 1)
    if (m < M) return tile_rows<F, P, M - 1>(m, w, panel, x, stride, c);
  tile<F, M, P>(w, panel, x, stride, c);
}

inline V activated(Activation a, V v) {
  switch (a) {
    case Activation::gelu: return gelu(v);
    case Activation::gelu_tanh: return gelu_tanh(v);
    case Activation::silu: return swish(v, 1.0f);
    case Activation::relu2: return relu2(v);
    default: return v;
  }
}

inline V bias_at(const float* bias, int64_t column, int count) { return bias ? load_n(bias + column, count) : set1(0.0f); }

// out = scale v + residual at one place
inline void give(const Linear& l, int64_t at, V v, int count) {
  const V scale = set1(l.scale);
  if (count == kWidth) {
    store(l.out + at, l.residual ? fma(v, scale, load(l.residual + at)) : mul(v, scale));
  } else if (count > 0) {
    store_n(l.out + at, l.residual ? fma(v, scale, load_n(l.residual + at, count)) : mul(v, scale), count);
  }
}

// Two panels' sums, gate and up, to one panel of outputs.
inline void finish_glu(const Linear& l, int64_t row, int64_t rows, int64_t column, const float* c) {
  const int64_t n = outputs(l.w), stride = l.stride ? l.stride : n;
  for (int i = 0; i < kPanel && column + i < n; i += kWidth) {
    const int count = static_cast<int>(n - column - i < kWidth ? n - column - i : kWidth);
    const V gate_bias = bias_at(l.bias, column + i, count), up_bias = bias_at(l.bias, n + column + i, count);
    for (int64_t m = 0; m < rows; ++m) {
      const float* at = c + m * kTileColumns + i;
      give(l, (row + m) * stride + column + i, gated(l.glu, add(load(at), gate_bias), add(load(at + kPanel), up_bias)), count);
    }
  }
}

inline void finish(const Linear& l, int64_t row, int64_t rows, int64_t column, int64_t columns, const float* c) {
  const int64_t n = l.w.n, stride = l.stride ? l.stride : n;
  for (int64_t i = 0; i < columns && column + i < n; i += kWidth) {
    const int count = static_cast<int>(n - column - i < kWidth ? n - column - i : kWidth);
    const V bias = bias_at(l.bias, column + i, count);
    for (int64_t m = 0; m < rows; ++m)
      give(l, (row + m) * stride + column + i, activated(l.activation, add(load(c + m * kTileColumns + i), bias)), count);
  }
}

// Fetches the cache lines that a tile will write and read, while it computes.
inline void prefetch_outputs(const Linear& l, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  const int64_t stride = l.stride ? l.stride : outputs(l.w);
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t i = 0; i < columns; i += 16) {
      const int64_t at = (row + m) * stride + column + i;
      OWNLM_PREFETCH(l.out + at, 1);
      if (l.residual) OWNLM_PREFETCH(l.residual + at);
    }
}

// Rows in tiles of about equal height: 13 as 7 and 6 rather than 12 and 1.
template <Format F>
inline void linear_of(const Linear& l, const Activations& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  constexpr int kRows = most_rows(F);
  alignas(64) float c[kRows * kTileColumns];
  const int64_t tiles = (rows + kRows - 1) / kRows;
  for (int64_t p = panel0; p < panel1; p += 2) {
    const bool two = p + 1 < panel1;
    const int64_t column = l.w.glu ? p / 2 * kPanel : p * kPanel, columns = two && !l.w.glu ? 2 * kPanel : kPanel;
    for (int64_t t = 0, row = row0; t < tiles; ++t) {
      const int64_t m = rows / tiles + (t < rows % tiles);
      const uint8_t* at = x.rows + row * x.stride;
      prefetch_outputs(l, row, m, column, columns);
      if constexpr (most_panels(F) == 2) {
        if (two) tile_rows<F, 2, kRows>(m, l.w, p, at, x.stride, c);
        else tile_rows<F, 1, kRows>(m, l.w, p, at, x.stride, c);
      } else {
        tile_rows<F, 1, kRows>(m, l.w, p, at, x.stride, c);
        if (two) tile_rows<F, 1, kRows>(m, l.w, p + 1, at, x.stride, c + kPanel);
      }
      if (l.w.glu) finish_glu(l, row, m, column, c);
      else finish(l, row, m, column, columns, c);
      row += m;
    }
  }
}

inline void linear(const Linear& l, const Activations& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  switch (l.w.format) {
    case Format::f32: return linear_of<Format::f32>(l, x, row0, rows, panel0, panel1);
    case Format::bf16: return linear_of<Format::bf16>(l, x, row0, rows, panel0, panel1);
    case Format::q8_0: return linear_of<Format::q8_0>(l, x, row0, rows, panel0, panel1);
    case Format::q4_0: return linear_of<Format::q4_0>(l, x, row0, rows, panel0, panel1);
    case Format::q4_k: return linear_of<Format::q4_k>(l, x, row0, rows, panel0, panel1);
    case Format::q5_k: return linear_of<Format::q5_k>(l, x, row0, rows, panel0, panel1);
    case Format::q6_k: return linear_of<Format::q6_k>(l, x, row0, rows, panel0, panel1);
  }
}

}  // namespace
}  // namespace ownlm
