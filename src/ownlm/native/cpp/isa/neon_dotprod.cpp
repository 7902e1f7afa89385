#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../decoder_kernels.h"

#ifndef OWNLM_I8MM  // else neon_i8mm.cpp includes this
#define OWNLM_NAME "neon_dotprod"
#define OWNLM_TABLE neon_dotprod_kernels
#endif

#define OWNLM_TILE_ROWS 6    // rows and
#define OWNLM_TILE_PANELS 1  // panels of a float tile: its sums, weights and one activation fill the registers
#include "vec_neon.h"
#include "math.h"
#include "gemm.h"
#include "ops.h"
#include "convert.h"
#include "tile_float.h"
#include "tile_neon.h"
#include "tile_k_neon.h"
#include "linear.h"
#include "dot_neon.h"
#include "decoder_rows.h"
#include "quads_portable.h"
#include "paged_attention.h"

namespace ownlm {

const Kernels* OWNLM_TABLE() {
  static const DecoderKernels decoder = OWNLM_DECODER_KERNELS;
  static const Kernels table = {OWNLM_NAME, convert, linear, layer_norm, attention,
                                mean_pool, dequantize, add_floats, dot_i8, &decoder};
  return &table;
}

}  // namespace ownlm
