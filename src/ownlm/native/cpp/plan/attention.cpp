// Rotary positions, the cache's new entries, and attention over it.
#include <algorithm>
#include <cmath>

#include "../cpu.h"
#include "../pool.h"
#include "lookup.h"
#include "steps.h"

namespace ownlm {
namespace {

// Cosines and sines of this batch's positions, once for all layers: cheap, and no table limits the context. The angle is the
// float product that training used.
class Angles : public Step {
 public:
  Angles(const float* frequencies, int64_t half, float factor, int out) : Step("angles"), frequencies_(frequencies), half_(half), factor_(factor), out_(out) {
    writes = {out};
  }
  int64_t tasks(const Run& run) override { return ceil_div(run.batch.tokens, kShare); }
  void work(const Run& run, int64_t task, void*) const override {
    const int64_t end = std::min(run.batch.tokens, (task + 1) * kShare);
    for (int64_t t = task * kShare; t < end; ++t) {
      float* to = run.at<float>(out_) + t * (line(half_ * 8) / 4);
      for (int64_t i = 0; i < half_; ++i) {
        const double angle = static_cast<double>(static_cast<float>(run.batch.positions[t]) * frequencies_[i]);
        to[i] = static_cast<float>(std::cos(angle)) * factor_;
        to[half_ + i] = static_cast<float>(std::sin(angle)) * factor_;
      }
    }
  }

 private:
  static constexpr int64_t kShare = 16;
  const float* frequencies_;
  int64_t half_;
  float factor_;
  int out_;
};

// Norms and rotation of queries and keys where they stand, [q heads | k heads | v heads | gates] a row; what a table adds to
// the values; keys and values to the cache.
class RopeStore : public Step {
 public:
  RopeStore(int qkv, int angles, int64_t half, const Attend& a, const HeadNorms& norms)
      : Step("rope"), qkv_(qkv), angles_(angles), half_(half), a_(a), norms_(norms) {
    reads = {qkv};
    if (angles >= 0) reads.push_back(angles);
    writes = {qkv};
  }
  int64_t tasks(const Run& run) override {
    share_ = std::max<int64_t>(1, std::min<int64_t>(8, run.batch.tokens / (2 * pool::threads())));
    return ceil_div(run.batch.tokens, share_);
  }
  void work(const Run& run, int64_t task, void*) const override {
    const Batch& b = run.batch;
    const DecoderKernels* kernel = kernels()->decoder;
    const int64_t d = a_.head_dim, row = a_.row(), end = std::min(b.tokens, (task + 1) * share_);
    const int32_t* next = std::upper_bound(b.starts, b.starts + b.sequences + 1, static_cast<int32_t>(task * share_));
    for (int64_t t = task * share_; t < end; ++t) {
      while (*next <= t) ++next;
      float* q = run.at<float>(qkv_) + t * row;
      float* k = q + a_.heads * d;
      float* v = k + a_.kv_heads * d;
      norm(kernel, norms_.q, q, a_.heads);
      norm(kernel, norms_.k, k, a_.kv_heads);
      if (angles_ >= 0) {
        const float* cosine = run.at<const float>(angles_) + t * (line(half_ * 8) / 4);
        for (int64_t h = 0; h < a_.heads + a_.kv_heads; ++h) kernel->rotate(q + h * d, cosine, cosine + half_, half_);
      }
      if (a_.values.table) add_values(b.ids[t], v, v + a_.kv_heads * d);
      if (a_.cache->turned) kernel->hadamard(q, a_.heads + 2 * a_.kv_heads, d);
      for (int64_t h = 0; h < a_.kv_heads; ++h) a_.cache->store(a_.layer, b.slots[t], h, k + h * d, v + h * d, *next == t + 1);
    }
  }

 private:
  void norm(const DecoderKernels* kernel, const Norm& n, float* x, int64_t heads) const {
    if (!n.weight) return;
    const int64_t width = norms_.whole_row ? heads * a_.head_dim : a_.head_dim;
    kernel->rms_norm({x, width, n.weight, nullptr, x, width, width, n.eps, n.offset}, 0, norms_.whole_row ? 1 : heads);
  }
  // v of each head += 2 sigmoid(its gate) * its part of the table's row; the gates' places hold that factor afterwards.
  void add_values(int64_t id, float* v, float* gates) const {
    for (int64_t h = 0; h < a_.kv_heads; ++h) gates[h] = 2.0f / (1.0f + std::exp(-gates[h]));
    read_row(a_.values, id, a_.kv_heads * a_.head_dim, [&](int64_t i, float x) { v[i] += gates[i / a_.head_dim] * x; });
  }
  int qkv_, angles_;
  int64_t half_;
  Attend a_;
  HeadNorms norms_;
  int64_t share_ = 1;
};

// A tile is up to kMaxRows rows (tokens by heads of a group) of one sequence and key-value head. Where tiles are too few to keep the
// threads busy, each chunk of a tile's keys is a task, and a second step merges them: the same sums in the same order.
struct Tiles {
  std::vector<int64_t> first;  // of each sequence, and one behind the last
  int64_t most_chunks = 1, rows = 0;  // of any tile
  bool split = false;
  Buffer parts;
  size_t held = 0;
};

struct Tile {
  CachedAttention a;
  int64_t row0, rows, chunk0, chunk1, token, head;
};

class AttentionStep : public Step {
 public:
  AttentionStep(int qkv, const Attend& a, int out, std::shared_ptr<Tiles> tiles) : Step("attention"), qkv_(qkv), out_(out), a_(a), tiles_(std::move(tiles)) {
    reads = {qkv};
    writes = {out};
  }
  int64_t tasks(const Run& run) override {
    const Batch& b = run.batch;
    Tiles& t = *tiles_;
    t.first.assign(1, 0);
    t.most_chunks = 1;
    t.rows = 0;
    for (int64_t s = 0; s < b.sequences; ++s) {
      t.first.push_back(t.first.back() + ceil_div(b.fresh(s) * group(), kMaxRows) * a_.kv_heads);
      t.rows = std::max(t.rows, std::min(kMaxRows, b.fresh(s) * group()));
      if (b.fresh(s)) t.most_chunks = std::max<int64_t>(t.most_chunks, chunks(b, s));
    }
    const int64_t count = t.first.back();
    t.split = t.most_chunks > 1 && count < 4 * pool::threads();
    if (!t.split) return count;
    const size_t bytes = static_cast<size_t>(count * t.most_chunks * state()) * sizeof(float);
    if (bytes > t.held) {
      t.held = 0;
      t.parts = allocate(bytes);
      t.held = bytes;
    }
    return count * t.most_chunks;
  }
  size_t scratch(const Run&) const override {
    return static_cast<size_t>(cached_attention_scratch(a_.head_dim) + state()) * sizeof(float);
  }
  void work(const Run& run, int64_t task, void* scratch) const override {
    const DecoderKernels* kernel = kernels()->decoder;
    const Tiles& t = *tiles_;
    float* own = static_cast<float*>(scratch);
    if (t.split) {
      const Tile tile = at(run, task / t.most_chunks);
      const int64_t chunk = tile.chunk0 + task % t.most_chunks;
      if (chunk < tile.chunk1) kernel->attention_chunks(tile.a, tile.row0, tile.rows, chunk, chunk + 1, part(task), own);
      return;
    }
    const Tile tile = at(run, task);
    kernel->attention_chunks(tile.a, tile.row0, tile.rows, tile.chunk0, tile.chunk1, own, own + state());
    finish(run, kernel, tile, own);
  }
  void merge(const Run& run, int64_t task) const {
    const DecoderKernels* kernel = kernels()->decoder;
    const Tile tile = at(run, task);
    float* to = part(task * tiles_->most_chunks);
    for (int64_t i = 1; i < tile.chunk1 - tile.chunk0; ++i)
      kernel->attention_merge(tile.rows, a_.head_dim, to, part(task * tiles_->most_chunks + i));
    finish(run, kernel, tile, to);
  }

 private:
  int64_t group() const { return a_.heads / a_.kv_heads; }
  int64_t state() const { return attention_state(tiles_->rows, a_.head_dim); }
  float* part(int64_t i) const { return reinterpret_cast<float*>(tiles_->parts.get()) + i * state(); }
  int64_t chunks(const Batch& b, int64_t s) const {
    if (!a_.window) return ceil_div(b.lengths[s], kChunk);
    return std::min(ceil_div(b.lengths[s], kChunk), ceil_div(a_.window + kMaxRows, kChunk) + 1);
  }
  Tile at(const Run& run, int64_t i) const {
    const Batch& b = run.batch;
    const int64_t s = std::upper_bound(tiles_->first.begin(), tiles_->first.end(), i) - tiles_->first.begin() - 1;
    const int64_t rows = b.fresh(s) * group(), tiles = ceil_div(rows, kMaxRows), in = i - tiles_->first[static_cast<size_t>(s)];
    const int64_t head = in / tiles, row0 = (tiles - 1 - in % tiles) * kMaxRows;  // the longest first
    const KVCache& c = *a_.cache;
    const int64_t width = a_.row();
    Tile t;
    t.token = b.starts[s];
    t.head = head * group();
    t.row0 = row0;
    t.rows = std::min(kMaxRows, rows - row0);
    const int64_t position = b.lengths[s] - b.fresh(s);
    t.a = {run.at<const float>(qkv_) + t.token * width + t.head * a_.head_dim, width, group(), a_.head_dim, position, a_.window,
           c.pages(a_.layer), head, b.tables + s * b.table_width, a_.scale, a_.softcap};
    const int64_t oldest = position + row0 / group() + 1, newest = position + (row0 + t.rows - 1) / group() + 1;
    t.chunk0 = a_.window && oldest > a_.window ? (oldest - a_.window) / kChunk : 0;
    t.chunk1 = ceil_div(newest, kChunk);
    return t;
  }
  void finish(const Run& run, const DecoderKernels* kernel, const Tile& t, const float* state) const {
    const int64_t width = a_.heads * a_.head_dim;
    kernel->attention_finish(t.a, t.row0, t.rows, state, a_.sinks ? a_.sinks + t.head : nullptr,
                             run.at<float>(out_) + t.token * width + t.head * a_.head_dim, width);
  }
  int qkv_, out_;
  Attend a_;
  std::shared_ptr<Tiles> tiles_;
};

class AttentionMerge : public Step {
 public:
  AttentionMerge(const AttentionStep& parts, int out, std::shared_ptr<Tiles> tiles) : Step("attention merge"), parts_(parts), tiles_(std::move(tiles)) {
    reads = parts.reads;
    writes = {out};
  }
  int64_t tasks(const Run&) override { return tiles_->split ? tiles_->first.back() : 0; }
  void work(const Run& run, int64_t task, void*) const override { parts_.merge(run, task); }

 private:
  const AttentionStep& parts_;
  std::shared_ptr<Tiles> tiles_;
};

}  // namespace

std::unique_ptr<Step> make_angles(const float* frequencies, int64_t half, float factor, int out) {
  return std::make_unique<Angles>(frequencies, half, factor, out);
}
std::unique_ptr<Step> make_rope_store(int qkv, int angles, int64_t half, const Attend& a, const HeadNorms& norms) {
  return std::make_unique<RopeStore>(qkv, angles, half, a, norms);
}
void push_attention(Plan& plan, int qkv, const Attend& a, int out) {
  auto tiles = std::make_shared<Tiles>();
  auto parts = std::make_unique<AttentionStep>(qkv, a, out, tiles);
  auto merge = std::make_unique<AttentionMerge>(*parts, out, tiles);
  plan.push(std::move(parts));
  plan.push(std::move(merge));
}

}  // namespace ownlm
