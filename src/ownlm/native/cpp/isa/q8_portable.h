// Q8_0 products in plain C++. A group's 32 products are whole numbers that sum to at most 32 * 128 * 127 < 2^24, so float
// adds them exactly, in any order, and every compiler vectorises it.
#pragma once

namespace ownlm {
namespace {

inline void linear_q8_0(const Linear& l, const Quantized& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  const int64_t k = l.w.k, groups = k / kGroup;
  float c[kRowBlock * kPanel], w[kGroup * kPanel], a[4 * kGroup], dot[4 * kPanel], s[kPanel];
  for (int64_t p = panel0; p < panel1; ++p) {
    for (int64_t i = 0; i < rows * kPanel; ++i) c[i] = 0.0f;
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* packed = l.w.data + (p * groups + g) * (kGroup * kPanel);
      for (int j = 0; j < kGroup / 4; ++j)
        for (int t = 0; t < 4; ++t)
          for (int n = 0; n < kPanel; ++n) w[(j * 4 + t) * kPanel + n] = static_cast<float>(packed[j * 64 + n * 4 + t] - 128);
      for (int n = 0; n < kPanel; ++n) s[n] = half_to_float(l.w.scales[(p * groups + g) * kPanel + n]);
      for (int64_t m = 0; m < rows; m += 2) {
        const int count = rows - m < 2 ? 1 : 2;
        for (int r = 0; r < count; ++r)
          for (int i = 0; i < kGroup; ++i) a[r * kGroup + i] = static_cast<float>(x.q[(m + r) * k + g * kGroup + i]);
        if (count == 2) tile_f32<2, 1>(a, kGroup, w, 0, kGroup, dot, kPanel);
        else tile_f32<1, 1>(a, kGroup, w, 0, kGroup, dot, kPanel);
        for (int r = 0; r < count; ++r) {
          const float t = x.scale[(m + r) * groups + g];
          for (int n = 0; n < kPanel; ++n) c[(m + r) * kPanel + n] += dot[r * kPanel + n] * (s[n] * t);
        }
      }
    }
    epilogue(l, row0, rows, p * kPanel, kPanel, c, kPanel);
  }
}

inline void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  for (int64_t row = 0; row < rows; ++row) {
    int32_t total = 0;
    for (int64_t i = 0; i < width; ++i) total += static_cast<int16_t>(vectors[row * width + i]) * static_cast<int16_t>(query[i]);
    out[row] = total;
  }
}

}  // namespace
}  // namespace ownlm
