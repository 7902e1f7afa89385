#include "plan.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "../pool.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace ownlm {
namespace {

// Waits for the tasks that other threads still have in hand. They take some microseconds; where one does not, its thread is
// not running, and this one lets it.
void await(const std::atomic<int64_t>& left) {
  for (int i = 0; left.load(std::memory_order_acquire) != 0; ++i) {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#endif
    if (i > 4000) std::this_thread::yield();
  }
}

// Memory in bytes a row: free stretches by their start, first fit.
class Space {
 public:
  int64_t take(int64_t bytes) {
    for (auto it = free_.begin(); it != free_.end(); ++it)
      if (it->second >= bytes) {
        const int64_t at = it->first, rest = it->second - bytes;
        free_.erase(it);
        if (rest) free_[at + bytes] = rest;
        return at;
      }
    auto last = free_.empty() ? free_.end() : std::prev(free_.end());
    if (last != free_.end() && last->first + last->second == end) {  // grow the stretch at the end
      const int64_t at = last->first;
      free_.erase(last);
      end = at + bytes;
      return at;
    }
    const int64_t at = end;
    end += bytes;
    return at;
  }
  void give(int64_t at, int64_t bytes) {
    auto next = free_.lower_bound(at);
    if (next != free_.end() && at + bytes == next->first) {
      bytes += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      auto before = std::prev(next);
      if (before->first + before->second == at) {
        before->second += bytes;
        return;
      }
    }
    free_[at] = bytes;
  }
  int64_t end = 0;

 private:
  std::map<int64_t, int64_t> free_;
};

}  // namespace

uint8_t* Run::address(int reg) const {
  const Register& r = plan_.reg(reg);
  const int kind = static_cast<int>(r.rows);
  return arena_[kind] + r.offset * batch.count(r.rows);
}

int Plan::add(Rows rows, int64_t bytes) {
  Register r;
  r.rows = rows;
  r.bytes = line(bytes);
  registers_.push_back(r);
  return static_cast<int>(registers_.size()) - 1;
}

void Plan::finish() {
  const int count = static_cast<int>(steps_.size());
  for (int i = 0; i < count; ++i) {
    for (int r : steps_[static_cast<size_t>(i)]->writes) {
      Register& to = registers_[static_cast<size_t>(r)];
      if (to.first < 0) to.first = i;
      to.last = std::max(to.last, i);
    }
    for (int r : steps_[static_cast<size_t>(i)]->reads) registers_[static_cast<size_t>(r)].last = i;
  }
  Space space[2];
  std::vector<int> live;
  for (int i = 0; i < count; ++i) {
    const Step& step = *steps_[static_cast<size_t>(i)];
    for (int r : step.writes) {
      Register& to = registers_[static_cast<size_t>(r)];
      if (to.first != i || to.offset >= 0) continue;
      // read for the replaced value's sake alone: other tasks read whole rows while this one writes
      if (step.replaces >= 0 && std::count(step.reads.begin(), step.reads.end(), step.replaces) == 1) {
        Register& from = registers_[static_cast<size_t>(step.replaces)];
        const auto held = std::find(live.begin(), live.end(), step.replaces);
        if (from.last == i && from.rows == to.rows && from.bytes == to.bytes && held != live.end()) {
          to.offset = from.offset;
          *held = r;
          continue;
        }
      }
      to.offset = space[static_cast<int>(to.rows)].take(to.bytes);
      live.push_back(r);
    }
    for (size_t j = live.size(); j-- > 0;) {
      const Register& r = registers_[static_cast<size_t>(live[j])];
      if (r.last > i) continue;
      space[static_cast<int>(r.rows)].give(r.offset, r.bytes);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(j));
    }
  }
  row_bytes_[0] = space[0].end;
  row_bytes_[1] = space[1].end;
  counters_.reset(new Counter[steps_.size()]);
}

void Plan::walk(const Run& run, void* scratch, bool first) {
  using Clock = std::chrono::steady_clock;
  const bool measured = first && !seconds_.empty();
  Clock::time_point start = measured ? Clock::now() : Clock::time_point();
  const size_t count = steps_.size();
  for (size_t i = 0; i < count; ++i) {
    Counter& c = counters_[i];
    if (c.count == 0) continue;
    int64_t done = 0;
    for (;;) {
      const int64_t task = c.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= c.count) break;
      steps_[i]->work(run, task, scratch);
      ++done;
    }
    if (done) c.left.fetch_sub(done, std::memory_order_acq_rel);
    await(c.left);
    if (!measured) continue;
    const Clock::time_point now = Clock::now();
    seconds_[i] += std::chrono::duration<double>(now - start).count();
    start = now;
  }
}

void Plan::measure(bool on) {
  std::lock_guard<std::mutex> lock(busy_);
  seconds_.assign(on ? steps_.size() : 0, 0.0);
}

std::vector<double> Plan::seconds() {
  std::lock_guard<std::mutex> lock(busy_);
  return seconds_;
}

void Plan::run(const Batch& batch) {
  std::lock_guard<std::mutex> lock(busy_);
  const int64_t rows[2] = {batch.tokens, batch.wanted};
  for (int kind = 0; kind < 2; ++kind) {
    const int64_t bytes = row_bytes_[kind] * rows[kind];
    if (bytes > held_[kind]) {
      arena_[kind].reset();
      held_[kind] = 0;
      arena_[kind] = allocate_raw(static_cast<size_t>(bytes));  // every register is written before it is read
      held_[kind] = bytes;
    }
  }
  const Run run(batch, *this, arena_[0].get(), arena_[1].get());
  size_t scratch = 0;
  for (size_t i = 0; i < steps_.size(); ++i) {
    Counter& c = counters_[i];
    c.count = steps_[i]->tasks(run);
    c.next.store(0, std::memory_order_relaxed);
    c.left.store(c.count, std::memory_order_relaxed);
    if (c.count) scratch = std::max(scratch, steps_[i]->scratch(run));
  }
  pool::run(pool::threads(), scratch, true, [&](int64_t i, int, void* own) { walk(run, own, i == 0); });
}

}  // namespace ownlm
