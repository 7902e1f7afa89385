// Linear layers as steps: activations brought to the weights' terms once, then products over tasks of rows and panels.
#pragma once
#include <memory>

#include "plan.h"

namespace ownlm {

// Bytes that a row of activations takes when converted for weights of this format; 0 where they are taken as they are.
int64_t converted_bytes(const Packed& w);

struct LinearArguments {
  const Packed* w;
  const float* bias = nullptr;
  int residual = -1;
  float residual_scale = 1.0f;  // of the product, before the residual is added
  Activation activation = Activation::none;
};

struct LogitsScale {
  float scale = 1.0f, softcap = 0.0f;
};

// x (float [k]) to its converted rows; rows are those of the batch, `repeat` times.
std::unique_ptr<Step> make_convert(int x, Rows rows, int64_t repeat, const Packed& w, int out);
// out: a register, or -1 for the batch's result (logits of the wanted rows).
std::unique_ptr<Step> make_linear(int converted, Rows rows, const LinearArguments& l, int out, LogitsScale logits = {});

// One task's products, as experts use them too: rows row0 .. row0 + rows of `all` converted rows.
void convert_rows(const Packed& w, const float* x, int64_t rows, uint8_t* converted, int64_t at, int64_t all);
void linear_rows(const Linear& l, const uint8_t* converted, int64_t all, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1);
int64_t panels_a_task(const Packed& w);

}  // namespace ownlm
