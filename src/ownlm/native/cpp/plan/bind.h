#pragma once
#include <nanobind/nanobind.h>

namespace ownlm {

void bind_plan(nanobind::module_& m);  // Plan, KVCache, argmax, log_sum_exp, top_k

}  // namespace ownlm
