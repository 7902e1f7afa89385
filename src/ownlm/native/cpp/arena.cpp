#include "arena.h"

#include <mutex>
#include <new>
#include <vector>

#include "kernels.h"

namespace ownlm::arena {
namespace {

constexpr size_t kKeep = size_t{64} << 20;
constexpr size_t kSmallest = size_t{64} << 10;  // below this malloc is as good

// Size classes a quarter of a power of two apart: batches of nearly the same length share blocks.
size_t size_class(size_t bytes) {
  size_t step = kSmallest / 4;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

struct Block {
  void* data;
  size_t bytes;
};

// Entered with the GIL held, so a fork never finds it locked. Never destroyed: arrays may outlive the module.
struct State {
  std::mutex mutex;
  std::vector<Block> kept;  // oldest first
  size_t total = 0;
};
State& state() {
  static State* s = new State;
  return *s;
}

void release(void* p) noexcept { ::operator delete(p, std::align_val_t{kAlign}); }

}  // namespace

void* take(size_t bytes) {
  if (bytes < kSmallest) return ::operator new(bytes ? bytes : 1, std::align_val_t{kAlign});
  bytes = size_class(bytes);
  State& s = state();
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    for (size_t i = s.kept.size(); i-- > 0;)  // the last one given back may still be in cache
      if (s.kept[i].bytes == bytes) {
        void* p = s.kept[i].data;
        s.kept.erase(s.kept.begin() + static_cast<std::ptrdiff_t>(i));
        s.total -= bytes;
        return p;
      }
  }
  return ::operator new(bytes, std::align_val_t{kAlign});
}

void give_back(void* block, size_t bytes) noexcept {
  if (bytes < kSmallest) return release(block);
  bytes = size_class(bytes);
  if (bytes > kKeep) return release(block);
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  try {
    s.kept.push_back({block, bytes});
  } catch (const std::bad_alloc&) {
    return release(block);
  }
  s.total += bytes;
  while (s.total > kKeep) {
    s.total -= s.kept.front().bytes;
    release(s.kept.front().data);
    s.kept.erase(s.kept.begin());
  }
}

}  // namespace ownlm::arena
