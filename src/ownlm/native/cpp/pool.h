// One pool of threads for the process: at most threads() threads compute at any time, whoever calls.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ownlm::pool {

int threads();
void set_threads(int n);  // joins the old workers; new ones start at the next parallel call

// Calls task(context, index, worker) for every index in [0, count), worker in [0, threads()). Callers queue in order of
// arrival. Tasks must not throw and must not call run. The first call in a forked child starts a fresh pool.
// Each worker has scratch_bytes of its own scratch, aligned to a cache line; throws std::bad_alloc if there is no memory.
using Task = void (*)(void* context, int64_t index, int worker, void* scratch);
void run(int64_t count, size_t scratch_bytes, bool parallel, Task task, void* context);

template <class F>
void run(int64_t count, size_t scratch_bytes, bool parallel, F&& body) {
  run(count, scratch_bytes, parallel,
      [](void* f, int64_t i, int worker, void* scratch) { (*static_cast<std::remove_reference_t<F>*>(f))(i, worker, scratch); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace ownlm::pool
