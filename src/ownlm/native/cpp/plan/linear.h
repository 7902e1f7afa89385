// Linear layers as steps: activations brought to the weights' terms once, then products task by task.
#pragma once
#include <memory>

#include "plan.h"

namespace ownlm {

// Whether weights of this format take activations in other terms than float.
static constexpr bool converts(Format f) { return f != Format::f32; }
// What the steps below add to a register's address to find row r: rows are records of this many bytes.
static constexpr int64_t record_bytes(const Packed& w) {
  return converts(w.format) ? activation_bytes(w.format, w.k) : w.k * static_cast<int64_t>(sizeof(float));
}

struct LinearArguments {
  const Packed* w;     // alone: what it is chained to has a step of its own
  const float* bias = nullptr;
  int residual = -1;
  float scale = 1.0f;  // of the product, before the residual is added
  Activation activation = Activation::none;
  Glu glu = Glu::none;
  int64_t column = 0, stride = 0;  // where the outputs lie in a row of so many, if it is not theirs alone
};

// x (float [k]) to records; rows are those of the batch, `repeat` times.
std::unique_ptr<Step> make_convert(int x, Rows rows, int64_t repeat, const Packed& w, int out);
// out: a register, or -1 for the batch's result (logits of the wanted rows).
std::unique_ptr<Step> make_linear(int records, Rows rows, const LinearArguments& l, int out);
std::unique_ptr<Step> make_softcap(int64_t columns, float cap);  // cap tanh(x / cap) of the batch's result

}  // namespace ownlm
