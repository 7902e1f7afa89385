// AVX2 with vpdpbusd in its VEX encoding (AVX-VNNI: Alder Lake, Sierra Forest, Zen 5). avx512vl_vnni.cpp compiles this source too.
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../decoder_kernels.h"

#ifndef OWNLM_DPBUSD256
#define OWNLM_DPBUSD256 _mm256_dpbusd_avx_epi32
#define OWNLM_NAME "avx_vnni"
#define OWNLM_TABLE avx_vnni_kernels
#endif

#define OWNLM_TILE_ROWS 6    // rows and
#define OWNLM_TILE_PANELS 1  // panels of a float tile: its sums, weights and one activation fill the registers
#include "vec_avx2.h"
#include "math.h"
#include "gemm.h"
#include "ops.h"
#include "convert.h"
#include "tile_float.h"
#include "tile_vnni256.h"
#include "tile_k_avx2.h"
#include "linear.h"
#include "dot_avx2.h"
#include "decoder_rows.h"
#include "quads_avx2.h"
#include "paged_attention.h"

namespace ownlm {

const Kernels* OWNLM_TABLE() {
  static const DecoderKernels decoder = OWNLM_DECODER_KERNELS;
  static const Kernels table = {OWNLM_NAME, convert, linear, layer_norm, attention,
                                mean_pool, dequantize, add_floats, dot_i8, &decoder};
  return &table;
}

}  // namespace ownlm
