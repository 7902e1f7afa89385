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
#include "convert.h"
#include "tile_float.h"
#include "tile_avx512.h"
#include "tile_k_avx512.h"
#include "linear.h"
#include "dot_avx512.h"
#include "decoder_rows.h"
#include "quads_avx512.h"
#include "paged_attention.h"

namespace ownlm {

const Kernels* avx512_vnni_kernels() {
  static const DecoderKernels decoder = OWNLM_DECODER_KERNELS;
  static const Kernels table = {"avx512_vnni", convert, linear, layer_norm, attention,
                                mean_pool, dequantize, add_floats, dot_i8, &decoder};
  return &table;
}

}  // namespace ownlm
