#include "moe.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../cpu.h"

namespace ownlm {
namespace {

// Which expert computes what in this batch: entry e = token * k + choice stands at place[e] among all entries by expert.
struct Routing {
  std::vector<int32_t> choice, entry, place;
  std::vector<float> weight;
  std::vector<int64_t> begin;   // of each expert's entries
  std::vector<int32_t> active;  // experts that have entries
  int64_t active_count = 0;
};

class Route : public Step {
 public:
  Route(int logits, Rows rows, const Experts& e, std::shared_ptr<Routing> routing)
      : Step("route"), logits_(logits), rows_(rows), experts_(e.router->n), k_(e.chosen), scoring_(e.scoring), normalize_(e.normalize), routing_(std::move(routing)) {
    reads = {logits};
  }
  int64_t tasks(const Run& run) override {
    const size_t entries = static_cast<size_t>(run.batch.count(rows_) * k_);
    Routing& r = *routing_;
    for (auto* v : {&r.choice, &r.entry, &r.place}) v->resize(entries);
    r.weight.resize(entries);
    r.begin.assign(static_cast<size_t>(experts_) + 1, 0);
    r.active.resize(static_cast<size_t>(experts_));
    return ceil_div(run.batch.count(rows_), kShare);
  }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t end = std::min(run.batch.count(rows_), (task + 1) * kShare);
    for (int64_t t = task * kShare; t < end; ++t)
      choose(run.at<const float>(logits_) + t * experts_, routing_->choice.data() + t * k_, routing_->weight.data() + t * k_);
  }

 private:
  static constexpr int64_t kShare = 16;
  // The k largest, the first of equals first; k is small.
  void choose(const float* x, int32_t* choice, float* weight) const {
    for (int64_t j = 0; j < k_; ++j) {
      int64_t best = -1;
      for (int64_t e = 0; e < experts_; ++e)
        if ((best < 0 || x[e] > x[best]) && std::find(choice, choice + j, static_cast<int32_t>(e)) == choice + j) best = e;
      choice[j] = static_cast<int32_t>(best);
    }
    const float peak = x[choice[0]];
    float total = 0, chosen = 0;
    if (scoring_ == Scoring::softmax)
      for (int64_t e = 0; e < experts_; ++e) total += std::exp(x[e] - peak);
    for (int64_t j = 0; j < k_; ++j) chosen += weight[j] = std::exp(x[choice[j]] - peak);
    const float by = scoring_ == Scoring::softmax_of_chosen || normalize_ ? chosen : total;
    for (int64_t j = 0; j < k_; ++j) weight[j] /= by;
  }
  int logits_;
  Rows rows_;
  int64_t experts_, k_;
  Scoring scoring_;
  bool normalize_;
  std::shared_ptr<Routing> routing_;
};

class Group : public Step {
 public:
  Group(Rows rows, int64_t experts, int64_t k, std::shared_ptr<Routing> routing) : Step("group"), rows_(rows), experts_(experts), k_(k), routing_(std::move(routing)) {}
  int64_t tasks(const Run& run) override { return run.batch.count(rows_) ? 1 : 0; }
  void work(const Run& run, int64_t, void*) const override {
    Routing& r = *routing_;
    const int64_t entries = run.batch.count(rows_) * k_;
    for (int64_t e = 0; e < entries; ++e) ++r.begin[static_cast<size_t>(r.choice[static_cast<size_t>(e)]) + 1];
    r.active_count = 0;
    for (int64_t x = 0; x < experts_; ++x) {
      if (r.begin[static_cast<size_t>(x) + 1]) r.active[static_cast<size_t>(r.active_count++)] = static_cast<int32_t>(x);
      r.begin[static_cast<size_t>(x) + 1] += r.begin[static_cast<size_t>(x)];
    }
    std::vector<int64_t> next(r.begin.begin(), r.begin.end() - 1);
    for (int64_t e = 0; e < entries; ++e) {
      const int64_t at = next[static_cast<size_t>(r.choice[static_cast<size_t>(e)])]++;
      r.place[static_cast<size_t>(e)] = static_cast<int32_t>(at);
      r.entry[static_cast<size_t>(at)] = static_cast<int32_t>(e);
    }
  }

 private:
  Rows rows_;
  int64_t experts_, k_;
  std::shared_ptr<Routing> routing_;
};

// Tokens' rows in the order of their experts, converted for the experts' weights.
class Dispatch : public Step {
 public:
  Dispatch(int x, Rows rows, const Packed& w, int64_t k, int out, std::shared_ptr<Routing> routing)
      : Step("dispatch"), x_(x), out_(out), rows_(rows), k_(k), w_(w), routing_(std::move(routing)) {
    reads = {x};
    writes = {out};
  }
  int64_t tasks(const Run& run) override { return ceil_div(run.batch.count(rows_) * k_, kShare); }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t end = std::min(run.batch.count(rows_) * k_, (task + 1) * kShare);
    for (int64_t i = task * kShare; i < end; ++i) {
      const float* x = run.at<const float>(x_) + routing_->entry[static_cast<size_t>(i)] / k_ * w_.k;
      uint8_t* to = run.at<uint8_t>(out_) + i * record_bytes(w_);
      if (converts(w_.format)) kernels()->convert(w_.format, x, w_.k, 1, w_.k, to);
      else std::memcpy(to, x, static_cast<size_t>(w_.k) * sizeof(float));
    }
  }

 private:
  static constexpr int64_t kShare = 4;
  int x_, out_;
  Rows rows_;
  int64_t k_;
  Packed w_;
  std::shared_ptr<Routing> routing_;
};

class ExpertLinear : public Step {
 public:
  ExpertLinear(int records, Rows rows, std::vector<const Packed*> w, const float* bias, Glu glu, int64_t k, int out, std::shared_ptr<Routing> routing)
      : Step("experts"), records_(records), out_(out), rows_(rows), w_(std::move(w)), bias_(bias), glu_(glu), k_(k), routing_(std::move(routing)) {
    reads = {records};
    writes = {out};
  }
  int64_t tasks(const Run& run) override {
    const Packed& w = *w_[0];
    span_ = std::max<int64_t>(1, (64 << 10) / std::max<int64_t>(1, panel_bytes(w.format, w.k)) / 2) * 2;  // even: gate and up lie in turn
    across_ = ceil_div(panels(w), span_);
    return std::min(run.batch.count(rows_) * k_, static_cast<int64_t>(w_.size())) * across_;
  }
  void work(const Run& run, int64_t task, void*) const override {
    const Routing& r = *routing_;
    if (task / across_ >= r.active_count) return;
    const size_t expert = static_cast<size_t>(r.active[static_cast<size_t>(task / across_)]);
    const Packed& w = *w_[expert];
    const int64_t panel0 = task % across_ * span_, panel1 = std::min(panels(w), panel0 + span_);
    const Linear l{w, bias_ ? bias_ + static_cast<int64_t>(expert) * w.n : nullptr, nullptr, run.at<float>(out_), Activation::none, glu_};
    kernels()->linear(l, {run.at<const uint8_t>(records_), record_bytes(w)}, r.begin[expert], r.begin[expert + 1] - r.begin[expert],
                      panel0, panel1);
  }

 private:
  int records_, out_;
  Rows rows_;
  std::vector<const Packed*> w_;
  const float* bias_;
  Glu glu_;
  int64_t k_, span_ = 2, across_ = 1;
  std::shared_ptr<Routing> routing_;
};

// out = residual + scale * sum over a token's choices of weight * expert's row, in the order of the choices.
class Combine : public Step {
 public:
  Combine(int expert_rows, Rows rows, int64_t width, int64_t k, float scale, int residual, int out, std::shared_ptr<Routing> routing)
      : Step("combine"), expert_rows_(expert_rows), residual_(residual), out_(out), rows_(rows), width_(width), k_(k), scale_(scale), routing_(std::move(routing)) {
    reads = {expert_rows};
    if (residual >= 0) reads.push_back(residual);
    writes = {out};
    replaces = residual;
  }
  int64_t tasks(const Run& run) override { return ceil_div(run.batch.count(rows_), kShare); }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t end = std::min(run.batch.count(rows_), (task + 1) * kShare);
    const size_t bytes = static_cast<size_t>(width_) * sizeof(float);
    for (int64_t t = task * kShare; t < end; ++t) {
      float* to = run.at<float>(out_) + t * width_;
      const float* residual = run.at<const float>(residual_);
      if (!residual) std::memset(to, 0, bytes);
      else if (residual + t * width_ != to) std::memcpy(to, residual + t * width_, bytes);
      for (int64_t j = 0; j < k_; ++j) {
        const size_t entry = static_cast<size_t>(t * k_ + j);
        kernels()->decoder->scale_add(run.at<const float>(expert_rows_) + routing_->place[entry] * width_, scale_ * routing_->weight[entry], width_, to);
      }
    }
  }

 private:
  static constexpr int64_t kShare = 4;
  int expert_rows_, residual_, out_;
  Rows rows_;
  int64_t width_, k_;
  float scale_;
  std::shared_ptr<Routing> routing_;
};

int converted(Plan& plan, int x, Rows rows, int64_t repeat, const Packed& w) {
  if (!converts(w.format)) return x;
  const int to = plan.add(rows, repeat * record_bytes(w));
  plan.push(make_convert(x, rows, repeat, w, to));
  return to;
}

}  // namespace

void push_moe(Plan& plan, int x, Rows rows, const Experts& e, int residual, int out) {
  const int64_t experts = e.router->n, k = e.chosen, width = e.router->k, inner = e.down[0]->k;
  const auto floats = [&](int64_t row) { return plan.add(rows, row * static_cast<int64_t>(sizeof(float))); };
  auto routing = std::make_shared<Routing>();
  const int logits = floats(experts);
  LinearArguments router;
  router.w = e.router;
  router.bias = e.router_bias;
  plan.push(make_linear(converted(plan, x, rows, 1, *e.router), rows, router, logits));
  plan.push(std::make_unique<Route>(logits, rows, e, routing));
  plan.push(std::make_unique<Group>(rows, experts, k, routing));
  const int sent = plan.add(rows, k * record_bytes(*e.gate_up[0]));
  plan.push(std::make_unique<Dispatch>(x, rows, *e.gate_up[0], k, sent, routing));
  const int gated = floats(k * inner), down = floats(k * width);
  plan.push(std::make_unique<ExpertLinear>(sent, rows, e.gate_up, e.gate_up_bias, e.activation, k, gated, routing));
  plan.push(std::make_unique<ExpertLinear>(converted(plan, gated, rows, k, *e.down[0]), rows, e.down, e.down_bias, Glu::none, k, down, routing));
  plan.push(std::make_unique<Combine>(down, rows, width, k, e.residual_scale, residual, out, routing));
}

}  // namespace ownlm
