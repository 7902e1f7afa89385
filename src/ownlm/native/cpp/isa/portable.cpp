#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../decoder_kernels.h"

#define OWNLM_TILE_ROWS 2    // rows and
#define OWNLM_TILE_PANELS 1  // panels of a float tile: its sums, weights and one activation fill the registers
#include "vec_portable.h"
#include "math.h"
#include "gemm.h"
#include "ops.h"
#include "convert.h"
#include "tile_float.h"
#include "tile_portable.h"
#include "tile_k_portable.h"
#include "linear.h"
#include "dot_portable.h"
#include "decoder_rows.h"
#include "quads_portable.h"
#include "paged_attention.h"

namespace ownlm {

const Kernels* portable_kernels() {
  static const DecoderKernels decoder = OWNLM_DECODER_KERNELS;
  static const Kernels table = {"portable", convert, linear, layer_norm, attention,
                                mean_pool, dequantize, add_floats, dot_i8, &decoder};
  return &table;
}

}  // namespace ownlm
