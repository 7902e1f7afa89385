// Exact products of int8 vectors with sdot.
#pragma once

namespace ownlm {
namespace {

inline void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  for (int64_t row = 0; row < rows; ++row) {
    const int8_t* v = vectors + row * width;
    int32x4_t acc = vdupq_n_s32(0);
    int64_t i = 0;
    for (; i + 16 <= width; i += 16) acc = vdotq_s32(acc, vld1q_s8(v + i), vld1q_s8(query + i));
    int32_t total = vaddvq_s32(acc);
    for (; i < width; ++i) total += v[i] * query[i];
    out[row] = total;
  }
}

}  // namespace
}  // namespace ownlm
