// What Python records a forward with: checks arguments, keeps what they point to alive, and pushes steps.
#pragma once
#include <nanobind/nanobind.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../array.h"
#include "../drivers.h"
#include "linear.h"
#include "moe.h"
#include "steps.h"

namespace ownlm {

// Positions: rope of a layer, or none.
struct RopeArguments {
  nanobind::object inverse_frequencies;
  float factor = 1.0f;
};

class Recorder {
 public:
  using Table = std::tuple<std::string, nanobind::object, std::string>;  // "ids" or "positions", array, format

  int embed(const std::vector<Table>& tables, int64_t width, float scale);
  int norm(int x, nanobind::handle weight, nanobind::handle bias, float eps, float offset, int residual);
  int linear(int x, nanobind::handle w, nanobind::handle bias, int residual, float residual_scale, const std::string& activation);
  int glu_linear(int x, nanobind::handle w, nanobind::handle bias, const std::string& activation);
  int qkv_rope(int x, nanobind::handle w, nanobind::handle bias, nanobind::handle spec);
  int attention(int qkv, nanobind::handle spec);
  int moe(int x, nanobind::handle weights, int residual);
  void logits(int x, nanobind::handle w, nanobind::handle bias, float scale, float softcap);
  void run(nanobind::handle batch, nanobind::handle out);

  int64_t arena_bytes(int64_t tokens, int64_t wanted) const { return plan_.arena_bytes(tokens, wanted); }
  size_t steps() const { return plan_.steps(); }
  int64_t columns() const { return columns_; }

 private:
  int floats(Rows rows, int64_t width);
  void expect(int x, int64_t width, const char* what) const;
  const float* keep_floats(nanobind::handle array, const char* name, int64_t size);
  const Weight& weight(nanobind::handle w);
  int converted(int x, Rows rows, const Packed& w);
  int product(int x, Rows rows, LinearArguments l, int out, LogitsScale logits = {});
  int angles(nanobind::handle inverse_frequencies, float factor, int64_t* half);
  Attend attend(nanobind::handle spec);
  Norm head_norm(nanobind::handle spec, const char* name, int64_t width);
  Batch checked(nanobind::handle batch, std::vector<Array>& held) const;

  Plan plan_;
  std::vector<nanobind::object> kept_;
  std::vector<Array> arrays_;
  std::map<int, int64_t> widths_;                              // of float registers
  std::map<std::pair<int, Format>, int> converted_;            // of a register, for a format
  std::vector<std::pair<std::pair<std::vector<float>, float>, int>> angles_;
  std::vector<std::unique_ptr<std::vector<float>>> own_;
  int64_t most_ids_ = INT32_MAX, most_positions_ = INT32_MAX, columns_ = 0;
  KVCache* cache_ = nullptr;
};

}  // namespace ownlm
