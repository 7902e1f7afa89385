// A forward recorded once and replayed per batch in one call: steps over registers, in one parallel region.
//
//   register   a matrix with `bytes` for each token of the batch (or each wanted row); where it lies in the arena is planned
//              from who reads it last, in bytes a row, so one plan serves every batch
//   step       one operation, cut into tasks for the batch at hand
//
// Threads take tasks of the open step from a counter and go on when all are done. Nobody waits for a thread that has no task:
// one that the system has put aside between two tasks, or that joins late, holds up nothing.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../drivers.h"

namespace ownlm {

enum class Rows : int { tokens, wanted };

// What one call computes; indices have been checked against the cache and the tables.
struct Batch {
  int64_t tokens, sequences, wanted, table_width;
  const int32_t *ids, *positions, *starts, *lengths, *tables, *slots, *rows;
  const uint8_t* exact;  // [wanted]: whose logits the head's own rows give throughout; null: none
  int64_t exact_rows;    // how many those are
  float* out;

  int64_t count(Rows r) const { return r == Rows::tokens ? tokens : wanted; }
  int64_t fresh(int64_t s) const { return starts[s + 1] - starts[s]; }
};

struct Register {
  Rows rows;
  int64_t bytes;             // a row, a multiple of a cache line
  int64_t offset = -1;       // in the arena of its rows, in bytes a row
  int first = -1, last = -1; // steps that write it first and read it last
};

class Plan;

// One replay: where the registers lie for this batch.
class Run {
 public:
  Run(const Batch& batch_, const Plan& plan, uint8_t* tokens, uint8_t* wanted) : batch(batch_), plan_(plan), arena_{tokens, wanted} {}
  template <class T>
  T* at(int reg) const { return reg < 0 ? nullptr : reinterpret_cast<T*>(address(reg)); }
  const Batch& batch;

 private:
  uint8_t* address(int reg) const;
  const Plan& plan_;
  uint8_t* arena_[2];
};

class Step {
 public:
  explicit Step(const char* name_) : name(name_) {}
  virtual ~Step() = default;
  std::vector<int> reads, writes;
  const char* name;
  int replaces = -1;                                   // a register read here whose place the result may take
  virtual int64_t tasks(const Run&) = 0;               // before the region opens
  virtual size_t scratch(const Run&) const { return 0; }
  virtual void work(const Run&, int64_t task, void* scratch) const = 0;
};

class Plan {
 public:
  int add(Rows rows, int64_t bytes);                   // a register of so many bytes a row
  void push(std::unique_ptr<Step> step) { steps_.push_back(std::move(step)); }
  void finish();                                       // no more steps: lays the registers out
  void run(const Batch& batch);
  int64_t arena_bytes(int64_t tokens, int64_t wanted) const { return row_bytes_[0] * tokens + row_bytes_[1] * wanted; }
  const Register& reg(int i) const { return registers_[static_cast<size_t>(i)]; }
  size_t steps() const { return steps_.size(); }
  const Step& step(size_t i) const { return *steps_[i]; }
  // Seconds that the first thread spent in each step of the runs since, its waiting for the others included; off at first.
  void measure(bool on);
  std::vector<double> seconds();

 private:
  struct alignas(64) Counter {
    std::atomic<int64_t> next{0};
    alignas(64) std::atomic<int64_t> left{0};
    int64_t count = 0;
  };
  void walk(const Run& run, void* scratch, bool first);

  std::vector<Register> registers_;
  std::vector<std::unique_ptr<Step>> steps_;
  int64_t row_bytes_[2] = {0, 0};
  Buffer arena_[2];
  int64_t held_[2] = {0, 0};
  std::unique_ptr<Counter[]> counters_;
  std::vector<double> seconds_;
  std::mutex busy_;
};

static constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static constexpr int64_t line(int64_t bytes) { return ceil_div(bytes, static_cast<int64_t>(kAlign)) * static_cast<int64_t>(kAlign); }

}  // namespace ownlm
