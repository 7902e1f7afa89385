#include "linear.h"

#include <algorithm>

#include "../cpu.h"
#include "../decoder_kernels.h"

namespace ownlm {
namespace {

Quantized quantized(const Packed& w, uint8_t* converted, int64_t at, int64_t all) {
  const int64_t k = w.k, groups = k / kGroup, group_bytes = line(groups * 4);
  uint8_t* scales = converted + all * line(k);
  return {reinterpret_cast<int8_t*>(converted) + at * k, reinterpret_cast<float*>(scales) + at * groups,
          reinterpret_cast<int32_t*>(scales + all * group_bytes) + at * groups};
}

class Convert : public Step {
 public:
  Convert(int x, Rows rows, int64_t repeat, const Packed& w, int out) : x_(x), out_(out), rows_(rows), repeat_(repeat), w_(w) {
    reads = {x};
    writes = {out};
  }
  int64_t tasks(const Run& run) override {
    share_ = std::max<int64_t>(1, (32 << 10) / (w_.k * 4));
    return ceil_div(run.batch.count(rows_) * repeat_, share_);
  }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t all = run.batch.count(rows_) * repeat_, row0 = task * share_;
    convert_rows(w_, run.at<const float>(x_) + row0 * w_.k, std::min(share_, all - row0), run.at<uint8_t>(out_), row0, all);
  }

 private:
  int x_, out_;
  Rows rows_;
  int64_t repeat_;
  Packed w_;
  int64_t share_ = 1;
};

class LinearStep : public Step {
 public:
  LinearStep(int converted, Rows rows, const LinearArguments& l, int out, LogitsScale logits)
      : converted_(converted), out_(out), rows_(rows), l_(l), w_(*l.w), logits_(logits) {
    reads = {converted};
    if (l.residual >= 0) reads.push_back(l.residual);
    if (out >= 0) writes = {out};
    replaces = l.residual;
  }
  int64_t tasks(const Run& run) override {
    const int64_t rows = run.batch.count(rows_);
    if (rows == 0) return 0;
    block_ = kRowBlock;
    down_ = ceil_div(rows, block_);
    span_ = panels_a_task(w_);
    return down_ * ceil_div(padded(w_.n) / kPanel, span_);
  }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t rows = run.batch.count(rows_), row0 = task % down_ * block_, count = std::min(block_, rows - row0);
    const int64_t panel0 = task / down_ * span_, panel1 = std::min(padded(w_.n) / kPanel, panel0 + span_);
    float* out = out_ < 0 ? run.batch.out : run.at<float>(out_);
    const Linear l{w_, l_.bias, run.at<const float>(l_.residual), out, l_.activation};
    linear_rows(l, run.at<const uint8_t>(converted_), rows, row0, count, panel0, panel1);
    if (logits_.scale == 1.0f && logits_.softcap == 0.0f) return;
    const int64_t column = panel0 * kPanel, columns = std::min(w_.n, panel1 * kPanel) - column;
    for (int64_t row = row0; row < row0 + count; ++row)
      kernels()->decoder->softcap(out + row * w_.n + column, columns, logits_.scale, logits_.softcap);
  }

 private:
  int converted_, out_;
  Rows rows_;
  LinearArguments l_;
  Packed w_;
  LogitsScale logits_;
  int64_t block_ = kRowBlock, down_ = 1, span_ = 2;
};

}  // namespace

int64_t converted_bytes(const Packed& w) { return w.format == Format::f32 ? 0 : line(w.k) + 2 * line(w.k / kGroup * 4); }

int64_t panels_a_task(const Packed& w) {
  const int64_t bytes = w.k * kPanel * (w.format == Format::f32 ? 4 : 1);
  return std::max<int64_t>(1, (64 << 10) / bytes / 2) * 2;
}

void convert_rows(const Packed& w, const float* x, int64_t rows, uint8_t* converted, int64_t at, int64_t all) {
  kernels()->quantize(x, rows, w.k, quantized(w, converted, at, all));
}

void linear_rows(const Linear& l, const uint8_t* converted, int64_t all, int64_t row0, int64_t rows, int64_t panel0, int64_t panel1) {
  if (l.w.format == Format::f32)
    return kernels()->linear_f32(l, reinterpret_cast<const float*>(converted) + row0 * l.w.k, row0, rows, panel0, panel1);
  kernels()->linear_q8_0(l, quantized(l.w, const_cast<uint8_t*>(converted), row0, all), row0, rows, panel0, panel1);
}

std::unique_ptr<Step> make_convert(int x, Rows rows, int64_t repeat, const Packed& w, int out) {
  return std::make_unique<Convert>(x, rows, repeat, w, out);
}
std::unique_ptr<Step> make_linear(int converted, Rows rows, const LinearArguments& l, int out, LogitsScale logits) {
  return std::make_unique<LinearStep>(converted, rows, l, out, logits);
}

}  // namespace ownlm
