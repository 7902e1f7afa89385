// Memory for results. A forward makes and drops megabytes a call; fresh pages for each cost a tenth of its time.
#pragma once
#include <cstddef>

namespace ownlm::arena {

// Aligned to a cache line, not zeroed; throws std::bad_alloc. Blocks given back are kept for the next of their size class,
// up to 64 MiB in all.
void* take(size_t bytes);
void give_back(void* block, size_t bytes) noexcept;

}  // namespace ownlm::arena
