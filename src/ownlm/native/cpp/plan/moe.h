// Mixture of experts: each token goes through the k experts that its router scores highest (Shazeer et al., 2017).
#pragma once
#include <vector>

#include "linear.h"
#include "steps.h"

namespace ownlm {

enum class Scoring : int { softmax, softmax_of_chosen };

struct Experts {
  const Packed* router;            // [experts, width]
  const float* router_bias;        // may be null
  std::vector<const Packed*> gate_up, down;  // of each expert: gate and up [2 inner, width]; [width, inner]
  const float *gate_up_bias, *down_bias;     // [experts, ...], may be null
  int64_t chosen;
  Scoring scoring;
  bool normalize;                  // chosen weights brought to sum 1
  Glu activation;
  float residual_scale;
};

void push_moe(Plan& plan, int x, Rows rows, const Experts& e, int residual, int out);

}  // namespace ownlm
