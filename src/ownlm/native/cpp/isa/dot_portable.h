// Exact products of int8 vectors in plain C++.
#pragma once

namespace ownlm {
namespace {

inline void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  for (int64_t row = 0; row < rows; ++row) {
    int32_t total = 0;
    for (int64_t i = 0; i < width; ++i) total += static_cast<int16_t>(vectors[row * width + i]) * static_cast<int16_t>(query[i]);
    out[row] = total;
  }
}

}  // namespace
}  // namespace ownlm
