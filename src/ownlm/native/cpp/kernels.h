// The table of kernels that every instruction set fills.
//
// A kernel works on one task (a block of rows, a head of one sequence) in one thread; drivers.cpp cuts work into tasks.
// This header holds plain data and declarations only: translation units compiled for different instruction
// sets include it, and an inline function here could be emitted with AVX-512 code and then be picked by the linker for all.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ownlm {

constexpr int kGroup = 32;             // weights that share a scale in Q8_0, and activations that share one here
constexpr int kBlockBytes = 34;        // a Q8_0 block: fp16 scale, 32 int8
constexpr int kPanel = 16;             // output columns packed side by side
constexpr int kRowBlock = 48;          // rows whose activations one task quantizes and keeps in its cache
constexpr size_t kAlign = 64;

enum class Format : int { f32, q8_0 };
enum class Activation : int { none, gelu, gelu_tanh };

// A weight matrix [n, k], cut into panels of 16 outputs so that one vector instruction feeds 16 of them.
//   f32:  data[panel][k][16] floats.
//   q8_0: data[panel][k/32][8][16][4] bytes, each weight + 128 (the unsigned operand of vpdpbusd), and
//         scales[panel][k/32][16] fp16. Columns beyond n are zeros.
struct Packed {
  Format format;
  int64_t n, k;
  const uint8_t* data;
  const uint16_t* scales;
};

// Activations quantized in groups of 32: x ~ scale * q. offset = -128 * sum(q) undoes the weights' + 128.
struct Quantized {
  int8_t* q;        // [rows, k]
  float* scale;     // [rows, k/32]
  int32_t* offset;  // [rows, k/32]
};

// out = activation(x w^T + bias) + residual, rows of length n; bias and residual may be null.
struct Linear {
  Packed w;
  const float* bias;
  const float* residual;
  float* out;
  Activation activation;
};

struct LayerNorm {
  const float* x;
  const float* residual;  // may be null: added to x before the norm
  const float* weight;
  const float* bias;
  float* out;
  int64_t width;
  float eps;
};

// One head of one sequence: queries q0..q1 of it against all its keys.
struct Attention {
  const float* qkv;   // first row of the sequence, at the head's query
  int64_t stride;     // floats from one row to the next
  int64_t key_offset; // floats from a query to its key, and from a key to its value
  int64_t length, head_dim, q0, q1;
  float scale;
  float* out;         // first row of the sequence, at the head
  int64_t out_stride;
  float* scratch;     // attention_scratch(length, head_dim) floats
};

struct Kernels {
  const char* name;
  void (*quantize)(const float* x, int64_t rows, int64_t k, const Quantized& to);
  void (*linear_f32)(const Linear&, const float* x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1);
  void (*linear_q8_0)(const Linear&, const Quantized& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1);
  void (*layer_norm)(const LayerNorm&, int64_t row0, int64_t row1);
  void (*attention)(const Attention&);
  void (*mean_pool)(const float* x, int64_t rows, int64_t width, bool normalize, float* out);
  void (*dequantize)(const uint8_t* blocks, int64_t count, float* out, bool add);  // Q8_0 blocks to floats
  void (*add)(const float* x, int64_t count, float* out);                          // out += x
  void (*dot_i8)(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out);
  const struct DecoderKernels* decoder;
};

constexpr int64_t kMaxTile = 12;  // query rows that attention works on at once
static constexpr int64_t padded(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }
// Keys [length/16][head_dim][16], values [head_dim/16][length][16], scores and queries of a tile, outputs of a tile.
static constexpr int64_t attention_scratch(int64_t length, int64_t head_dim) {
  return padded(length) * head_dim + padded(head_dim) * length + kMaxTile * (2 * padded(length) + 2 * padded(head_dim) + 64);
}

const Kernels* portable_kernels();
const Kernels* avx2_kernels();         // defined where CMake found the flags
const Kernels* avx512_vnni_kernels();
const Kernels* avx512_bf16_kernels();  // avx512_vnni with bfloat16 attention

}  // namespace ownlm
