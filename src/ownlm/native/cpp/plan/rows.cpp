// Steps that work row by row: lookups, norms, and the rows whose logits are wanted.
#include <algorithm>
#include <cstring>

#include "../cpu.h"
#include "lookup.h"
#include "steps.h"

namespace ownlm {
namespace {

int64_t rows_a_task(int64_t row_bytes) { return std::max<int64_t>(1, (32 << 10) / std::max<int64_t>(1, row_bytes)); }

// Rows in tasks of about 32 KiB.
class RowStep : public Step {
 public:
  RowStep(const char* name_, Rows rows, int64_t repeat, int64_t row_bytes) : Step(name_), rows_(rows), repeat_(repeat), share_(rows_a_task(row_bytes)) {}
  int64_t tasks(const Run& run) override { return ceil_div(run.batch.count(rows_) * repeat_, share_); }
  void work(const Run& run, int64_t task, void*) const override {
    rows(run, task * share_, std::min(run.batch.count(rows_) * repeat_, (task + 1) * share_));
  }

 protected:
  virtual void rows(const Run& run, int64_t row0, int64_t row1) const = 0;

 private:
  Rows rows_;
  int64_t repeat_, share_;
};

class Embed : public RowStep {
 public:
  Embed(std::vector<Lookup> tables, int64_t width, float scale, int out)
      : RowStep("embed", Rows::tokens, 1, width * 4), tables_(std::move(tables)), width_(width), scale_(scale), out_(out) {
    writes = {out};
  }
  void rows(const Run& run, int64_t row0, int64_t row1) const override {
    for (int64_t row = row0; row < row1; ++row) {
      float* to = run.at<float>(out_) + row * width_;
      bool first = true;
      for (const Lookup& t : tables_) {
        const int64_t id = (t.source == Source::ids ? run.batch.ids : run.batch.positions)[row];
        if (first) read_row(t, id, width_, [&](int64_t i, float x) { to[i] = x; });
        else read_row(t, id, width_, [&](int64_t i, float x) { to[i] += x; });
        first = false;
      }
      if (scale_ != 1.0f)
        for (int64_t i = 0; i < width_; ++i) to[i] *= scale_;
    }
  }

 private:
  std::vector<Lookup> tables_;
  int64_t width_;
  float scale_;
  int out_;
};

class NormStep : public RowStep {
 public:
  NormStep(int x, Rows rows, int64_t width, Norm norm, int residual, int out)
      : RowStep("norm", rows, 1, width * 4), x_(x), residual_(residual), out_(out), width_(width), norm_(norm) {
    reads = {x};
    if (residual >= 0) reads.push_back(residual);
    writes = {out};
  }
  void rows(const Run& run, int64_t row0, int64_t row1) const override {
    const float* x = run.at<const float>(x_);
    const float* residual = run.at<const float>(residual_);
    float* out = run.at<float>(out_);
    if (!norm_.bias)
      return kernels()->decoder->rms_norm({x, width_, norm_.weight, residual, out, width_, width_, norm_.eps, norm_.offset}, row0, row1);
    kernels()->layer_norm({x, nullptr, norm_.weight, norm_.bias, out, width_, norm_.eps}, row0, row1);
    if (residual) kernels()->add(residual + row0 * width_, (row1 - row0) * width_, out + row0 * width_);
  }

 private:
  int x_, residual_, out_;
  int64_t width_;
  Norm norm_;
};

class Gather : public RowStep {
 public:
  Gather(int x, int64_t width, int out) : RowStep("gather", Rows::wanted, 1, width * 4), x_(x), out_(out), width_(width) {
    reads = {x};
    writes = {out};
  }
  void rows(const Run& run, int64_t row0, int64_t row1) const override {
    for (int64_t row = row0; row < row1; ++row)
      std::memcpy(run.at<float>(out_) + row * width_, run.at<const float>(x_) + run.batch.rows[row] * width_,
                  static_cast<size_t>(width_) * sizeof(float));
  }

 private:
  int x_, out_;
  int64_t width_;
};

}  // namespace

std::unique_ptr<Step> make_embed(std::vector<Lookup> tables, int64_t width, float scale, int out) {
  return std::make_unique<Embed>(std::move(tables), width, scale, out);
}
std::unique_ptr<Step> make_norm(int x, Rows rows, int64_t width, Norm norm, int residual, int out) {
  return std::make_unique<NormStep>(x, rows, width, norm, residual, out);
}
std::unique_ptr<Step> make_gather(int x, int64_t width, int out) { return std::make_unique<Gather>(x, width, out); }

}  // namespace ownlm
