// Cuts each operation into tasks for the pool. Arguments have been checked by module.cpp.
#pragma once
#include <memory>
#include <vector>

#include "kernels.h"

namespace ownlm {

struct Free {
  size_t alignment = kAlign;
  void operator()(uint8_t* p) const;
};
using Buffer = std::unique_ptr<uint8_t[], Free>;
Buffer allocate(size_t bytes);  // aligned to a cache line, zeroed; throws std::bad_alloc
Buffer allocate_raw(size_t bytes);  // not zeroed

// Data and scales are its own, or lie in memory that `kept` keeps, such as a mapped file.
struct Weight {
  Packed packed;
  Buffer data, scales;
  size_t bytes;
  std::shared_ptr<void> kept = nullptr;
  std::unique_ptr<Weight> next = nullptr;  // what packed.next points to
};
void link(Weight& last, Weight next);  // a stack of several formats
int64_t data_bytes(const Packed& w);   // of all its panels
int64_t scale_bytes(const Packed& w);

// A matrix as checkpoints store it: float or bfloat16 [rows, k], or rows of Q8_0 or Q4_0 blocks.
struct Stored {
  const uint8_t* data;
  int64_t rows;
};
int64_t stored_row_bytes(Format format, int64_t k);
Weight pack(Format format, const std::vector<Stored>& stacked, int64_t k);        // one below the other
Weight pack_glu(Format format, const Stored& gate, const Stored& up, int64_t k);  // of as many rows

// One panel at a time: the rows that it is made of, as they are stored; null where there is none.
struct PanelRows {
  const uint8_t* row[kPanel];
};
int64_t panel_bytes(Format format, int64_t k);  // without scales
int64_t panel_scale_bytes(Format format, int64_t k);
void pack_panel(Format format, const PanelRows& rows, int64_t k, uint8_t* data, uint16_t* scales);

struct Table {  // rows to look up: floats, or Q8_0 blocks
  const float* floats;
  const uint8_t* blocks;
  const int32_t* ids;
};

// A linear as tasks for a running parallel region: task i of `count` is linear_task(l, x, cut, i), in any order, by any thread.
// Tasks that follow each other share their weights.
struct LinearCut {
  int64_t rows, row_block, row_blocks, panels, count;
};
LinearCut cut_linear(const Packed& w, int64_t rows, int threads);
void linear_task(const Linear& l, const Activations& x, const LinearCut& cut, int64_t task);

void linear(const Linear& l, const float* x, int64_t rows);  // opens a region of its own
void embed(const std::vector<Table>& tables, int64_t rows, int64_t width, float* out);
void layer_norm(const LayerNorm& l, int64_t rows);
void attention(const float* qkv, const int32_t* starts, int64_t sequences, int64_t heads, int64_t head_dim, float scale, float* out);
void mean_pool(const float* x, const int32_t* starts, int64_t sequences, int64_t width, bool normalize, float* out);
void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out);

}  // namespace ownlm
