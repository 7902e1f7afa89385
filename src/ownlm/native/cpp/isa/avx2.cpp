#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../decoder_kernels.h"

#define OWNLM_TILE_ROWS 6    // rows and
#define OWNLM_TILE_PANELS 1  // panels of a float tile: its sums, weights and one activation fill the registers
#include "vec_avx2.h"
#include "math.h"
#include "gemm.h"
#include "ops.h"
#include "convert.h"
#include "tile_float.h"
#include "tile_avx2.h"
#include "tile_k_avx2.h"
#include "linear.h"
#include "dot_avx2.h"
#include "decoder_rows.h"
#include "quads_avx2.h"
#include "paged_attention.h"

namespace ownlm {

const Kernels* avx2_kernels() {
  static const DecoderKernels decoder = OWNLM_DECODER_KERNELS;
  static const Kernels table = {"avx2", convert, linear, layer_norm, attention,
                                mean_pool, dequantize, add_floats, dot_i8, &decoder};
  return &table;
}

}  // namespace ownlm
