#include "pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "kernels.h"

namespace ownlm::pool {
namespace {

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#endif
}

// A forward is a row of calls some microseconds apart, so a worker that has just finished looks out for the next one this
// long before it sleeps; waking a sleeper costs about as much.
constexpr std::chrono::microseconds kSpin{50};

template <class Ready>
bool spin(Ready ready) {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() - start < kSpin);
  return ready();
}

struct Scratch {
  void* data = nullptr;
  size_t bytes = 0;
  Scratch() = default;
  Scratch(Scratch&& other) noexcept : data(other.data), bytes(other.bytes) { other.data = nullptr; }
  ~Scratch() { release(); }
  void release() {
    if (data) ::operator delete(data, std::align_val_t{kAlign});
    data = nullptr;
    bytes = 0;
  }
  void reserve(size_t n) {
    if (n <= bytes) return;
    release();
    data = ::operator new(n, std::align_val_t{kAlign});
    std::memset(data, 0, n);
    bytes = n;
  }
};

class Pool {
 public:
  explicit Pool(int n) : scratch_(static_cast<size_t>(n)) {}

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }

  void run(int64_t count, size_t bytes, bool parallel, Task task, void* context) {
    const int n = static_cast<int>(scratch_.size());
    parallel = parallel && n > 1 && count > 1;
    for (int i = 0; i < (parallel ? n : 1); ++i) scratch_[static_cast<size_t>(i)].reserve(bytes);
    if (!parallel) {
      for (int64_t i = 0; i < count; ++i) task(context, i, 0, scratch_[0].data);
      return;
    }
    if (workers_.empty()) start(n);
    task_ = task;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    gate_.store(0);  // opens the job; sequentially consistent with sleepers_ below, so that no wake-up is lost
    generation_.fetch_add(1);
    if (sleepers_.load() > 0) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
    work(0);
    // Workers that have not come in by now are not waited for; those inside are.
    if (gate_.fetch_or(kClosed) != 0 && !spin([this] { return gate_.load() == kClosed; })) {
      std::unique_lock<std::mutex> lock(mutex_);
      done_.wait(lock, [this] { return gate_.load() == kClosed; });
    }
  }

 private:
  static constexpr int kClosed = 1 << 30;

  void start(int n) {
    // With fewer threads than asked for (a limit on processes, say) the work is done all the same.
    for (int i = 1; i < n; ++i) {
      try {
        workers_.emplace_back([this, i] { serve(i); });
      } catch (const std::system_error&) {
        break;
      }
    }
  }

  void work(int worker) {
    for (;;) {
      const int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= count_) return;
      task_(context_, i, worker, scratch_[static_cast<size_t>(worker)].data);
    }
  }

  bool enter() {
    int inside = gate_.load();
    while ((inside & kClosed) == 0)
      if (gate_.compare_exchange_weak(inside, inside + 1)) return true;
    return false;
  }

  void serve(int worker) {
    uint64_t seen = 0;
    const auto changed = [&] { return generation_.load() != seen || stop_.load(); };
    for (;;) {
      if (!spin(changed)) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, changed);
        sleepers_.fetch_sub(1);
      }
      if (stop_.load()) return;
      seen = generation_.load();
      if (!enter()) continue;
      work(worker);
      if (gate_.fetch_sub(1) == (kClosed | 1)) {
        { std::lock_guard<std::mutex> lock(mutex_); }
        done_.notify_one();
      }
    }
  }

  std::vector<Scratch> scratch_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  alignas(64) std::atomic<uint64_t> generation_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int> gate_{kClosed};  // workers inside the open job, or kClosed + those that have yet to leave
};

// First come, first served: std::mutex would let one busy caller starve the others.
class Queue {
 public:
  void lock() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!taken_) {
      taken_ = true;
      return;
    }
    Waiter me;
    waiting_.push_back(&me);
    me.turn.wait(lock, [&] { return me.called; });
  }
  void unlock() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (waiting_.empty()) {
      taken_ = false;
      return;
    }
    Waiter* next = waiting_.front();
    waiting_.pop_front();
    next->called = true;
    next->turn.notify_one();
  }

 private:
  struct Waiter {
    std::condition_variable turn;
    bool called = false;
  };
  std::mutex mutex_;
  std::deque<Waiter*> waiting_;
  bool taken_ = false;
};

// Never destroyed: at exit a worker may still sleep on its condition variable.
struct State {
  Queue queue;
  Pool* pool = nullptr;
};
std::atomic<int> wanted{1};
std::atomic<State*> state{new State};

#if !defined(_WIN32)
// A forked child has none of the threads, and perhaps a queue locked by one of them: it starts anew.
const int registered = pthread_atfork(nullptr, nullptr, [] { state.store(new State); });
#endif

}  // namespace

int threads() { return wanted.load(); }

void set_threads(int n) {
  State* s = state.load();
  std::lock_guard<Queue> turn(s->queue);
  if (n == wanted.load()) return;
  delete s->pool;
  s->pool = nullptr;
  wanted.store(n);
}

void run(int64_t count, size_t scratch_bytes, bool parallel, Task task, void* context) {
  if (count <= 0) return;
  State* s = state.load();
  std::lock_guard<Queue> turn(s->queue);
  if (!s->pool) s->pool = new Pool(wanted.load());
  s->pool->run(count, scratch_bytes, parallel, task, context);
}

}  // namespace ownlm::pool
