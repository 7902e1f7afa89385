// The table of kernels that every instruction set fills.
//
// A kernel works on one task (a block of rows, a head of one sequence) in one thread; drivers.cpp cuts work into tasks.
// This header holds plain data and declarations only: translation units compiled for different instruction
// sets include it, and an inline function here could be emitted with AVX-512 code and then be picked by the linker for all.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ownlm {

constexpr int kGroup = 32;             // weights that share a scale in Q8_0 and Q4_0, and activations that share one here
constexpr int kBlockBytes = 34;        // a Q8_0 block: fp16 scale, 32 int8
constexpr int kQ4BlockBytes = 18;      // a Q4_0 block: fp16 scale, 16 bytes of two 4-bit weights
constexpr int kSuper = 256;            // weights of a block of the K formats, which has 8 groups
constexpr int kPanel = 16;             // output columns packed side by side
constexpr int kMostTileRows = 12;
constexpr size_t kAlign = 64;

enum class Format : int { f32, bf16, q8_0, q4_0, q4_k, q5_k, q6_k };
static constexpr bool is_k(Format f) { return f >= Format::q4_k; }
enum class Activation : int { none, gelu, gelu_tanh, silu, relu2 };
enum class Glu : int { none, silu, gelu, gelu_tanh, swiglu_oai };

constexpr int kLayout = 1;  // of what follows: files of packed weights say theirs, so a change here makes them anew

// A weight matrix [n, k], cut into panels of 16 outputs so that one vector instruction feeds 16 of them.
//   f32:  data[panel][k][16] floats.
//   bf16: data[panel][k/2][16][2], the pairs that vdpbf16ps takes; k is rounded up to even.
//   q8_0: data[panel][k/32][8][16][4] bytes, each weight + 128 (the unsigned operand of vpdpbusd), and
//         scales[panel][k/32][16] fp16.
//   q4_0: data[panel][k/32][4][16][4] bytes, weight + 8 of a group's inputs 4 j + 0..3 in the low and 16 + 4 j + 0..3 in the
//         high nibbles, and scales as above.
//   q4_k: data as of q4_0, weights of 0..15; scales[panel][k/256] are fp16 d[16], fp16 dmin[16], and bytes s[8][16] and m[8][16] of
//         its groups: a weight is d s q - dmin m.
//   q5_k: data[panel][k/32] is a group as of q4_0, then [16][4] bytes whose bit j is the fifth of the group's input 4 j + 0..3;
//         scales as of q4_k.
//   q6_k: data[panel][k/32] is a group as of q4_0, then [2][16][4] bytes whose bits 2 j, 2 j + 1 are the upper two of inputs
//         4 j + 0..3 and 16 + 4 j + 0..3; scales[panel][k/256] are fp16 d[16] and signed bytes s[16][16] of groups of 16: a weight is
//         d s (q - 32).
// Columns beyond n are zeros. In a glu matrix even panels hold gate rows and odd panels the up rows of the same outputs.
struct Packed {
  Format format;
  int64_t n, k;       // n counts gate and up rows
  const uint8_t* data;
  const uint16_t* scales;
  bool glu = false;
  const Packed* next = nullptr;  // a stack of several formats: the matrix whose outputs lie behind these; never of a glu
};
static constexpr int64_t panels(const Packed& w) { return w.glu ? (w.n / 2 + kPanel - 1) / kPanel * 2 : (w.n + kPanel - 1) / kPanel; }
static constexpr int64_t outputs(const Packed& w) { return w.glu ? w.n / 2 : w.n; }
static constexpr int64_t all_rows(const Packed& w) { return w.n + (w.next ? all_rows(*w.next) : 0); }

// Inputs quantized in groups of 32: x ~ scale * q. offset = -128 or -8 times the sum of q undoes what was added to weights.
struct ActivationGroup {
  float scale;
  int32_t offset;
  int8_t q[kGroup];
};

// The same for the K formats. weighted = scale times the sum of q, which minima are multiplied with; offset = -32 times the sum of
// the first 16 and of the last.
struct KActivationGroup {
  float scale, weighted;
  int32_t offset[2];
  int8_t q[kGroup];
};

// Rows of inputs in the terms of a weight's format, `stride` bytes apart; one converted row serves all its weights.
//   f32: float [k], as they are.   q8_0, q4_0: ActivationGroup [k/32].   K formats: KActivationGroup [k/32], alike for all.
//   bf16: k values rounded to bfloat16, and a zero behind them if k is odd; as bfloat16 where an instruction set multiplies
//   those, else as floats. Rows that one instruction set converted are for itself alone.
struct Activations {
  const uint8_t* rows;
  int64_t stride;
};
static constexpr int64_t activation_bytes(Format f, int64_t k) {  // of one row, in whole cache lines
  const int64_t group = static_cast<int64_t>(is_k(f) ? sizeof(KActivationGroup) : sizeof(ActivationGroup));
  const int64_t bytes = f == Format::f32 ? 4 * k : f == Format::bf16 ? 4 * (k + k % 2) : k / kGroup * group;
  return (bytes + 63) / 64 * 64;
}

// out = scale * activation(x w^T + bias) + residual; or, if w.glu, scale * (act(gate) * up) + residual, for which bias holds
// those of all gate rows, then those of all up rows. bias and residual may be null; out may be residual.
struct Linear {
  Packed w;
  const float* bias;
  const float* residual;
  float* out;
  Activation activation = Activation::none;
  Glu glu = Glu::none;   // not none if and only if w.glu
  float scale = 1.0f;
  int64_t stride = 0;    // floats from row to row of out and residual; 0: outputs(w)
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
  // Rows x [rows, k], x_stride floats apart, in the terms of `format` (not f32, which takes floats as they are).
  void (*convert)(Format format, const float* x, int64_t x_stride, int64_t rows, int64_t k, uint8_t* to);
  // Rows row0 .. row0 + rows, of x as of out, by panels panel0 .. panel1 (both even in a glu matrix). One thread; any number
  // of threads may call it for parts that do not overlap. A row's result does not depend on how the work is cut.
  void (*linear)(const Linear&, const Activations& x, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1);
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
const Kernels* avx_vnni_kernels();
const Kernels* avx512vl_vnni_kernels();  // avx_vnni in the encoding of AVX-512
const Kernels* avx512_vnni_kernels();
const Kernels* neon_dotprod_kernels();
const Kernels* neon_i8mm_kernels();
const Kernels* avx512_bf16_kernels();  // avx512_vnni with bfloat16 attention
const Kernels* amx_int8_kernels();     // avx512_bf16 with tile registers

}  // namespace ownlm
