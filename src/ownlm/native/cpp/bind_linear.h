#pragma once
#include <nanobind/nanobind.h>

namespace ownlm {

void bind_linear(nanobind::module_& m);  // Linear, pack, pack_glu, linear

}  // namespace ownlm
