#include "head.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "../cpu.h"
#include "../decoder_kernels.h"
#include "../pool.h"

namespace ownlm {
namespace {

constexpr int64_t kPackedBytes = 128 << 10;  // of the head's rows that a task of `exact head` lays out, to use them for all its rows

// Columns whose maximum is kept, a power of two: more stretches than the fewest candidates, where there are columns enough.
int64_t stretch_of(int64_t columns) {
  int64_t stretch = 16;
  while (stretch < 256 && stretch * 8 * kFewestCandidates <= columns) stretch *= 2;
  return stretch;
}

bool exact(const Run& run, int64_t row) { return run.batch.exact && run.batch.exact[row]; }

// All logits by the copy, left out where every row is computed exactly. maxima: of each stretch its largest, then of each the
// sum of exp(x - largest), told while its logits are in cache.
class CopyLogits : public Step {
 public:
  CopyLogits(int records, const RescoredHead& h, int maxima)
      : Step("logits"), records_(records), maxima_(maxima), h_(h), stretch_(stretch_of(h.exact.n)), stretches_(ceil_div(h.exact.n, stretch_)) {
    reads = {records};
    writes = {maxima};
  }
  int64_t tasks(const Run& run) override {
    if (run.batch.exact_rows == run.batch.wanted) return 0;
    cut_ = cut_linear(*h_.copy, run.batch.wanted, pool::threads());
    cut_.panels = std::max<int64_t>(1, cut_.panels / kWhole) * kWhole;
    cut_.count = ceil_div(panels(*h_.copy), cut_.panels) * cut_.row_blocks;
    return cut_.count;
  }
  void work(const Run& run, int64_t task, void*) const override {
    Linear l{*h_.copy, h_.bias, nullptr, run.batch.out};
    l.scale = h_.scale;
    linear_task(l, {run.at<const uint8_t>(records_), record_bytes(*h_.copy)}, cut_, task);
    const int64_t row0 = task % cut_.row_blocks * cut_.row_block, column0 = task / cut_.row_blocks * cut_.panels * kPanel;
    const int64_t s0 = column0 / stretch_, s1 = std::min(stretches_, (column0 + cut_.panels * kPanel) / stretch_);
    for (int64_t row = row0; row < std::min(run.batch.wanted, row0 + cut_.row_block); ++row) {
      float* to = run.at<float>(maxima_) + row * line(stretches_ * 8) / 4;
      for (int64_t s = s0; s < s1; ++s) {
        const float* x = run.batch.out + row * h_.exact.n + s * stretch_;
        const int64_t count = std::min(stretch_, h_.exact.n - s * stretch_);
        to[s] = kernels()->decoder->maximum(x, count);
        to[stretches_ + s] = static_cast<float>(kernels()->decoder->sum_exp(x, count, 1.0f, to[s]));
      }
    }
  }

 private:
  static constexpr int64_t kWhole = 256 / kPanel;  // panels of the longest stretch: no task ends within one
  int records_, maxima_;
  RescoredHead h_;
  int64_t stretch_, stretches_;
  LinearCut cut_{};
};

// out: a count, then so many columns
class Candidates : public Step {
 public:
  Candidates(int x, int maxima, const RescoredHead& h, int out)
      : Step("candidates"), x_(x), maxima_(maxima), out_(out), h_(h), stretch_(stretch_of(h.exact.n)), stretches_(ceil_div(h.exact.n, stretch_)) {
    reads = {x, maxima};
    writes = {out};
  }
  int64_t tasks(const Run& run) override { return run.batch.exact_rows == run.batch.wanted ? 0 : run.batch.wanted; }
  size_t scratch(const Run&) const override { return static_cast<size_t>(h_.exact.n) * sizeof(int32_t); }
  void work(const Run& run, int64_t row, void* scratch) const override {
    int32_t* to = run.at<int32_t>(out_) + row * (line((1 + kMostCandidates) * 4) / 4);
    to[0] = 0;
    if (exact(run, row)) return;
    const float* maxima = run.at<const float>(maxima_) + row * (line(stretches_ * 8) / 4);
    const float bound = bound_of(maxima, run.at<const float>(x_) + row * h_.exact.k, static_cast<float*>(scratch));
    const float* logits = run.batch.out + row * h_.exact.n;
    const float below = std::nextafter(bound, -std::numeric_limits<float>::infinity());
    int32_t* found = static_cast<int32_t*>(scratch);
    int64_t count = 0;
    for (int64_t s = 0; s < stretches_; ++s) {
      if (!(maxima[s] >= bound)) continue;
      const int64_t end = std::min(h_.exact.n, (s + 1) * stretch_);
      for (int64_t i = s * stretch_ - 1; (i = kernels()->decoder->next_above(logits, i + 1, end, below)) < end;) found[count++] = static_cast<int32_t>(i);
    }
    if (count > kMostCandidates) {
      const auto better = [logits](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); };
      std::nth_element(found, found + kMostCandidates, found + count, better);
      count = kMostCandidates;
    }
    to[0] = static_cast<int32_t>(count);
    std::copy(found, found + count, to + 1);
  }

 private:
  float bound_of(const float* maxima, const float* x, float* sorted) const {
    if (stretches_ < kFewestCandidates) return std::numeric_limits<float>::lowest();
    float squares[8] = {};
    for (int64_t i = 0; i < h_.exact.k; i += 8)  // k is a multiple of 32
      for (int j = 0; j < 8; ++j) {
        const float e = x[i + j] * h_.spread[i + j];
        squares[j] += e * e;
      }
    float square = 0.0f;
    for (float s : squares) square += s;
    square *= h_.scale * h_.scale;
    const float peak = *std::max_element(maxima, maxima + stretches_);
    double sum = 0;
    for (int64_t s = 0; s < stretches_; ++s)
      if (maxima[s] > peak - 30.0f) sum += static_cast<double>(maxima[stretches_ + s]) * std::exp(static_cast<double>(maxima[s] - peak));
    const float likeliest = peak - kMarginSigmas * std::sqrt(square);
    const float worth = peak + static_cast<float>(std::log(sum)) - std::log(square / (2.0f * kWorth));
    // where x is no number, nor is this: then any logits will do, for what comes out of the head's own rows is none
    if (!std::isfinite(likeliest)) return std::numeric_limits<float>::lowest();
    std::copy(maxima, maxima + stretches_, sorted);
    std::nth_element(sorted, sorted + kFewestCandidates - 1, sorted + stretches_, std::greater<float>());
    return std::min({likeliest, worth, sorted[kFewestCandidates - 1]});
  }

  int x_, maxima_, out_;
  RescoredHead h_;
  int64_t stretch_, stretches_;
};

// The head's kernel over some of its rows, laid out as panels in a task's scratch.
class OwnRows : public Step {
 public:
  OwnRows(const char* name_, int records, const RescoredHead& h)
      : Step(name_), records_(records), h_(h), record_(record_bytes(h.exact)), row_(stored_row_bytes(h.exact.format, h.exact.k)),
        panel_(panel_bytes(h.exact.format, h.exact.k)), scales_(h.exact.format == Format::q8_0 ? h.exact.k / kGroup * kPanel : 0) {
    reads = {records};
  }

 protected:
  size_t room(int64_t panels) const { return static_cast<size_t>(panels * (panel_ + scales_ * 2)); }
  // Panels of the rows id(0) .. id(count - 1), each panel's scales behind all panels.
  template <class Id>
  Packed lay_out(int64_t count, int64_t most_panels, void* scratch, Id id) const {
    uint8_t* data = static_cast<uint8_t*>(scratch);
    uint16_t* scales = reinterpret_cast<uint16_t*>(data + most_panels * panel_);
    for (int64_t p = 0; p * kPanel < count; ++p) {
      PanelRows r{};
      for (int64_t c = 0; c < kPanel && p * kPanel + c < count; ++c) r.row[c] = h_.rows + id(p * kPanel + c) * row_;
      pack_panel(h_.exact.format, r, h_.exact.k, data + p * panel_, scales + p * scales_);
    }
    return {h_.exact.format, count, h_.exact.k, data, scales_ ? scales : nullptr};
  }
  Activations rows_of(const Run& run) const { return {run.at<const uint8_t>(records_), record_}; }

  int records_;
  RescoredHead h_;
  int64_t record_, row_, panel_, scales_;
};

class Rescore : public OwnRows {
 public:
  Rescore(int candidates, int records, const RescoredHead& h) : OwnRows("rescore", records, h), candidates_(candidates) { reads.push_back(candidates); }
  int64_t tasks(const Run& run) override { return run.batch.exact_rows == run.batch.wanted ? 0 : run.batch.wanted * kTasks; }
  size_t scratch(const Run&) const override { return room(1); }
  void work(const Run& run, int64_t task, void* scratch) const override {
    const int64_t row = task / kTasks, t = task % kTasks;
    const int32_t* found = run.at<const int32_t>(candidates_) + row * (line((1 + kMostCandidates) * 4) / 4);
    const int32_t* ids = found + 1;
    float bias[kPanel], out[kPanel];
    for (int64_t i = t * kEach, end = std::min<int64_t>(found[0], (t + 1) * kEach); i < end; i += kPanel) {
      for (int64_t c = i + kPanel; c < std::min(end, i + 2 * kPanel); ++c) prefetch(h_.rows + ids[c] * row_, row_);
      const int64_t count = std::min<int64_t>(kPanel, end - i);
      const Packed w = lay_out(count, 1, scratch, [&](int64_t c) { return static_cast<int64_t>(ids[i + c]); });
      if (h_.bias)
        for (int64_t c = 0; c < count; ++c) bias[c] = h_.bias[ids[i + c]];
      Linear l{w, h_.bias ? bias : nullptr, nullptr, out};
      l.scale = h_.scale;
      const Activations x = rows_of(run);
      kernels()->linear(l, {x.rows + row * x.stride, x.stride}, 0, 1, 0, 1);
      for (int64_t c = 0; c < count; ++c) run.batch.out[row * h_.exact.n + ids[i + c]] = out[c];
    }
  }

 private:
  static constexpr int64_t kEach = 64, kTasks = kMostCandidates / kEach;  // most tasks find nothing to do: few are candidates
  static void prefetch(const uint8_t* at, int64_t bytes) {
#if defined(__GNUC__)
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
#endif
  }
  int candidates_;
};

class ExactHead : public OwnRows {
 public:
  ExactHead(int records, const RescoredHead& h)
      : OwnRows("exact head", records, h), panels_(std::max<int64_t>(2, kPackedBytes / std::max<int64_t>(1, panel_) / 2 * 2)) {}
  int64_t tasks(const Run& run) override { return run.batch.exact_rows ? ceil_div(h_.exact.n, panels_ * kPanel) : 0; }
  size_t scratch(const Run& run) const override { return run.batch.exact_rows ? room(panels_) : 0; }
  void work(const Run& run, int64_t task, void* scratch) const override {
    const int64_t column = task * panels_ * kPanel, count = std::min(panels_ * kPanel, h_.exact.n - column);
    const Packed w = lay_out(count, panels_, scratch, [column](int64_t c) { return column + c; });
    Linear l{w, h_.bias ? h_.bias + column : nullptr, nullptr, run.batch.out + column};
    l.scale = h_.scale;
    l.stride = h_.exact.n;
    for (int64_t row = 0; row < run.batch.wanted;) {
      int64_t end = row;
      while (end < std::min(run.batch.wanted, row + kRows) && exact(run, end)) ++end;
      if (end > row) kernels()->linear(l, rows_of(run), row, end - row, 0, ceil_div(count, kPanel));
      row = std::max(end, row + 1);
    }
  }

 private:
  static constexpr int64_t kRows = 16 * kMostTileRows;  // at a time, so that what they are multiplied with stays in cache
  int64_t panels_;
};

}  // namespace

void push_rescored_head(Plan& plan, int x, int copied, int records, const RescoredHead& h) {
  const int64_t stretches = ceil_div(h.exact.n, stretch_of(h.exact.n));
  const int maxima = plan.add(Rows::wanted, stretches * 8);
  plan.push(std::make_unique<CopyLogits>(copied, h, maxima));
  const int candidates = plan.add(Rows::wanted, (1 + kMostCandidates) * 4);
  plan.push(std::make_unique<Candidates>(x, maxima, h, candidates));
  plan.push(std::make_unique<Rescore>(candidates, records, h));
  plan.push(std::make_unique<ExactHead>(records, h));
}

}  // namespace ownlm
