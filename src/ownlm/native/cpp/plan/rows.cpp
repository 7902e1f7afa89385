// Steps that work row by row: lookups, norms, and the rows whose logits are wanted.
#include <algorithm>
#include <cstring>

#include "../cpu.h"
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

float half_to_float(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  uint32_t bits = static_cast<uint32_t>(h & 0x8000u) << 16;
  float x;
  if (exponent == 0) {
    x = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return bits ? -x : x;
  }
  bits |= exponent == 31 ? 0x7f800000u | static_cast<uint32_t>(fraction) << 13
                         : static_cast<uint32_t>(exponent + 112) << 23 | static_cast<uint32_t>(fraction) << 13;
  std::memcpy(&x, &bits, 4);
  return x;
}

uint16_t read_16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

// One row of a table as floats: to[i] = or += it.
template <class Put>
void read_row(const Lookup& t, int64_t id, int64_t width, Put put) {
  switch (t.format) {
    case Lookup::Format::f32: {
      const uint8_t* row = t.table + id * width * 4;
      for (int64_t i = 0; i < width; ++i) {
        float x;
        std::memcpy(&x, row + i * 4, 4);
        put(i, x);
      }
      return;
    }
    case Lookup::Format::bf16:
    case Lookup::Format::f16: {
      const uint8_t* row = t.table + id * width * 2;
      for (int64_t i = 0; i < width; ++i) {
        const uint16_t bits = read_16(row + i * 2);
        const uint32_t wide = static_cast<uint32_t>(bits) << 16;
        float x;
        std::memcpy(&x, &wide, 4);
        put(i, t.format == Lookup::Format::bf16 ? x : half_to_float(bits));
      }
      return;
    }
    case Lookup::Format::q8_0: {
      const uint8_t* block = t.table + id * (width / 32 * 34);
      for (int64_t i = 0; i < width; i += 32, block += 34) {
        const float d = half_to_float(read_16(block));
        for (int64_t j = 0; j < 32; ++j) put(i + j, d * static_cast<float>(static_cast<int8_t>(block[2 + j])));
      }
      return;
    }
    case Lookup::Format::q4_0: {
      const uint8_t* block = t.table + id * (width / 32 * 18);
      for (int64_t i = 0; i < width; i += 32, block += 18) {
        const float d = half_to_float(read_16(block));
        for (int64_t j = 0; j < 16; ++j) {
          put(i + j, d * static_cast<float>((block[2 + j] & 15) - 8));
          put(i + j + 16, d * static_cast<float>((block[2 + j] >> 4) - 8));
        }
      }
      return;
    }
  }
}

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
