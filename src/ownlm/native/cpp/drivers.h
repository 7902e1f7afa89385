// Cuts each operation into tasks for the pool. Arguments have been checked by module.cpp.
#pragma once
#include <memory>
#include <vector>

#include "kernels.h"

namespace ownlm {

struct Free {
  void operator()(uint8_t* p) const;
};
using Buffer = std::unique_ptr<uint8_t[], Free>;
Buffer allocate(size_t bytes);  // aligned to a cache line, zeroed; throws std::bad_alloc

struct Weight {
  Packed packed;
  Buffer data, scales;
  size_t bytes;
};

Weight pack_f32(const float* w, int64_t n, int64_t k);
Weight pack_q8_0(const uint8_t* blocks, int64_t n, int64_t k);

struct Table {  // rows to look up: floats, or Q8_0 blocks
  const float* floats;
  const uint8_t* blocks;
  const int32_t* ids;
};

void linear(const Linear& l, const float* x, int64_t rows);
void embed(const std::vector<Table>& tables, int64_t rows, int64_t width, float* out);
void layer_norm(const LayerNorm& l, int64_t rows);
void attention(const float* qkv, const int32_t* starts, int64_t sequences, int64_t heads, int64_t head_dim, float scale, float* out);
void mean_pool(const float* x, const int32_t* starts, int64_t sequences, int64_t width, bool normalize, float* out);
void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out);

}  // namespace ownlm
