// What a sampler asks of logits [rows, columns].
#pragma once
#include <cstdint>

namespace ownlm {

void argmax(const float* logits, int64_t rows, int64_t columns, int32_t* ids);  // the first of equals
// log of the sum of exp(scale x) of each row
void log_sum_exp(const float* logits, int64_t rows, int64_t columns, float scale, double* out);
// The k largest of each row, largest first, the first of equals first.
void top_k(const float* logits, int64_t rows, int64_t columns, int64_t k, int32_t* ids, float* values);

}  // namespace ownlm
