// avx512_bf16 with linear layers of 16 rows and more over tile registers (Sapphire Rapids and later).
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../decoder_kernels.h"

#define OWNLM_TILE_ROWS 12    // rows and
#define OWNLM_TILE_PANELS 2  // panels of a float tile: its sums, weights and one activation fill the registers
#include "vec_avx512.h"
#include "math.h"
#include "gemm.h"
#include "ops.h"
#define OWNLM_BF16_PRODUCTS
#include "attention_bf16.h"
#include "convert.h"
#include "tile_float.h"
#include "tile_avx512.h"
#include "tile_k_avx512.h"
#include "linear.h"
#include "amx_tiles.h"
#include "linear_amx.h"
#include "dot_avx512.h"
#include "decoder_rows.h"
#include "quads_avx512.h"
#include "paged_attention.h"

namespace ownlm {

const Kernels* amx_int8_kernels() {
  static const DecoderKernels decoder = OWNLM_DECODER_KERNELS;
  static const Kernels table = {"amx_int8", convert, linear_amx, layer_norm, attention_bf16,
                                mean_pool, dequantize, add_floats, dot_i8, &decoder};
  return &table;
}

}  // namespace ownlm
