#include "linear.h"

#include <algorithm>

#include "../cpu.h"
#include "../decoder_kernels.h"
#include "../pool.h"

namespace ownlm {
namespace {

class Convert : public Step {
 public:
  Convert(int x, Rows rows, int64_t repeat, const Packed& w, int out)
      : Step("convert"), x_(x), out_(out), rows_(rows), repeat_(repeat), k_(w.k), record_(record_bytes(w)), format_(w.format) {
    reads = {x};
    writes = {out};
  }
  int64_t tasks(const Run& run) override {
    share_ = std::max<int64_t>(1, (32 << 10) / (k_ * 4));
    return ceil_div(run.batch.count(rows_) * repeat_, share_);
  }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t row0 = task * share_, count = std::min(share_, run.batch.count(rows_) * repeat_ - row0);
    kernels()->convert(format_, run.at<const float>(x_) + row0 * k_, k_, count, k_, run.at<uint8_t>(out_) + row0 * record_);
  }

 private:
  int x_, out_;
  Rows rows_;
  int64_t repeat_, k_, record_;
  Format format_;
  int64_t share_ = 1;
};

class LinearStep : public Step {
 public:
  LinearStep(int records, Rows rows, const LinearArguments& l, int out)
      : Step(out < 0 ? "logits" : "linear"), records_(records), out_(out), rows_(rows), l_(l), w_(*l.w) {
    reads = {records};
    if (l.residual >= 0) reads.push_back(l.residual);
    if (out >= 0) writes = {out};
    replaces = l.residual;
  }
  int64_t tasks(const Run& run) override {
    const int64_t rows = run.batch.count(rows_);
    if (rows == 0) return 0;
    cut_ = cut_linear(w_, rows, pool::threads());
    return cut_.count;
  }
  void work(const Run& run, int64_t task, void*) const override {
    float* out = out_ < 0 ? run.batch.out : run.at<float>(out_);
    const float* residual = run.at<const float>(l_.residual);
    const Linear l{w_, l_.bias, residual ? residual + l_.column : nullptr, out + l_.column, l_.activation, l_.glu, l_.scale, l_.stride};
    linear_task(l, {run.at<const uint8_t>(records_), record_bytes(w_)}, cut_, task);
  }

 private:
  int records_, out_;
  Rows rows_;
  LinearArguments l_;
  Packed w_;
  LinearCut cut_{};
};

// cap tanh(x / cap) of the result, in stretches of a task.
class Softcap : public Step {
 public:
  Softcap(int64_t columns, float cap) : Step("softcap"), columns_(columns), cap_(cap) {}
  int64_t tasks(const Run& run) override { return run.batch.wanted * ceil_div(columns_, kShare); }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t across = ceil_div(columns_, kShare), column = task % across * kShare;
    kernels()->decoder->softcap(run.batch.out + task / across * columns_ + column, std::min(kShare, columns_ - column), 1.0f, cap_);
  }

 private:
  static constexpr int64_t kShare = 16 << 10;
  int64_t columns_;
  float cap_;
};

}  // namespace

std::unique_ptr<Step> make_convert(int x, Rows rows, int64_t repeat, const Packed& w, int out) {
  return std::make_unique<Convert>(x, rows, repeat, w, out);
}
std::unique_ptr<Step> make_linear(int records, Rows rows, const LinearArguments& l, int out) {
  return std::make_unique<LinearStep>(records, rows, l, out);
}
std::unique_ptr<Step> make_softcap(int64_t columns, float cap) { return std::make_unique<Softcap>(columns, cap); }

}  // namespace ownlm
