// The instruction sets that are compiled in, and those of them that this processor and operating system run.
#pragma once
#include <string>
#include <vector>

#include "kernels.h"

namespace ownlm {

std::vector<const Kernels*> usable_kernels();  // slowest first; portable is always there
const Kernels* kernels();                      // the ones in use
bool use_kernels(const std::string& name);     // false: not usable here

}  // namespace ownlm
