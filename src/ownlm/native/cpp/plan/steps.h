// The steps of a decoder. Each make_* gives a step whose arguments are registers (-1: none) and memory that outlives the plan.
#pragma once
#include <memory>
#include <vector>

#include "cache.h"
#include "plan.h"

namespace ownlm {

enum class Source : int { ids, positions };  // which numbers of the batch look a table up

struct Lookup {
  enum class Format : int { f32, bf16, f16, q8_0, q4_0, q4_k, q5_k, q6_k };
  Source source;
  Format format;
  const uint8_t* table;  // rows as checkpoints store them
  int64_t rows;
};

struct Norm {
  const float* weight;
  const float* bias;  // null: RMS norm
  float eps, offset;
};

// What a layer's attention is made of; norms of queries and keys by head, or over their whole row.
struct Attend {
  int64_t heads, kv_heads, head_dim, window;
  float scale, softcap;
  const float* sinks;
  KVCache* cache;
  int64_t layer;
  Lookup values{Source::ids, Lookup::Format::f32, nullptr, 0};  // rows to add to values, gated; no table, none

  // Floats of a token: queries, keys, values, and the gates of what is added to the values.
  int64_t row() const { return (heads + 2 * kv_heads) * head_dim + (values.table ? kv_heads : 0); }
};

struct HeadNorms {
  Norm q{nullptr, nullptr, 0, 0}, k{nullptr, nullptr, 0, 0};
  bool whole_row = false;
};

std::unique_ptr<Step> make_embed(std::vector<Lookup> tables, int64_t width, float scale, int out);
std::unique_ptr<Step> make_norm(int x, Rows rows, int64_t width, Norm norm, int residual, int out);
std::unique_ptr<Step> make_gather(int x, int64_t width, int out);                                    // wanted rows
std::unique_ptr<Step> make_angles(const float* inverse_frequencies, int64_t half, float factor, int out);
std::unique_ptr<Step> make_rope_store(int qkv, int angles, int64_t half, const Attend& a, const HeadNorms& norms);
void push_attention(Plan& plan, int qkv, const Attend& a, int out);

}  // namespace ownlm
