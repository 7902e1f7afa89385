// A matrix's rows rounded to Q4_0, to find with few bytes which of them give the largest products.
#pragma once
#include <vector>

#include "drivers.h"

namespace ownlm {

struct Coarse {
  Weight weight;               // Q4_0
  std::vector<float> spread;   // [k]: of each input, the root mean square over all rows of what rounding changed
};

// rows [n, k] of f32, bf16 or q8_0 as checkpoints store them; k is a multiple of 32.
Coarse coarse(Format stored, const uint8_t* rows, int64_t n, int64_t k);

}  // namespace ownlm
