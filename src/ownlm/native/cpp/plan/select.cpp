#include "select.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../cpu.h"
#include "../decoder_kernels.h"
#include "../pool.h"

namespace ownlm {
namespace {

template <class F>
void each_row(int64_t rows, F body) {
  pool::run(rows, 0, rows > 1, [&](int64_t row, int, void*) { body(row); });
}

}  // namespace

void argmax(const float* logits, int64_t rows, int64_t columns, int32_t* ids) {
  const DecoderKernels* kernel = kernels()->decoder;
  each_row(rows, [&](int64_t row) {
    const float* x = logits + row * columns;
    const float peak = kernel->maximum(x, columns);
    const float below = std::nextafter(peak, -std::numeric_limits<float>::infinity());
    const int64_t at = kernel->next_above(x, 0, columns, below);
    ids[row] = static_cast<int32_t>(at < columns ? at : std::find(x, x + columns, peak) - x);
    if (ids[row] >= columns) ids[row] = 0;  // nothing but what is no number
  });
}

void log_sum_exp(const float* logits, int64_t rows, int64_t columns, float scale, double* out) {
  const DecoderKernels* kernel = kernels()->decoder;
  each_row(rows, [&](int64_t row) {
    const float* x = logits + row * columns;
    const float peak = kernel->maximum(x, columns);
    out[row] = static_cast<double>(peak) * static_cast<double>(scale) + std::log(kernel->sum_exp(x, columns, scale, peak));
  });
}

void top_k(const float* logits, int64_t rows, int64_t columns, int64_t k, int32_t* ids, float* values) {
  const DecoderKernels* kernel = kernels()->decoder;
  each_row(rows, [&](int64_t row) {
    const float* x = logits + row * columns;
    int32_t* heap = ids + row * k;  // the worst of the best so far on top
    const auto value = [x](int32_t i) { return x[i] == x[i] ? x[i] : -std::numeric_limits<float>::infinity(); };
    const auto better = [&](int32_t a, int32_t b) { return value(a) > value(b) || (value(a) == value(b) && a < b); };
    for (int64_t i = 0; i < k; ++i) heap[i] = static_cast<int32_t>(i);
    std::make_heap(heap, heap + k, better);
    for (int64_t i = k; (i = kernel->next_above(x, i, columns, value(heap[0]))) < columns; ++i) {
      std::pop_heap(heap, heap + k, better);
      heap[k - 1] = static_cast<int32_t>(i);
      std::push_heap(heap, heap + k, better);
    }
    std::sort(heap, heap + k, better);
    for (int64_t i = 0; i < k; ++i) values[row * k + i] = x[heap[i]];
  });
}

}  // namespace ownlm
