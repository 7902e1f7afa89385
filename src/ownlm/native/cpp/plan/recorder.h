// What Python records a forward with: checks arguments, keeps what they point to alive, and at the end lays out the steps.
//
// Where an operation works row by row and only the wanted rows of its result are read further on, it is computed for those
// alone: of a prompt's last layer, all behind the attention.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../array.h"
#include "../drivers.h"
#include "head.h"
#include "linear.h"
#include "moe.h"
#include "steps.h"

namespace ownlm {

template <class T>
T field(nanobind::handle object, const char* name) {
  return nanobind::cast<T>(object.attr(name));
}

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
  void rescored_logits(int x, nanobind::handle head, nanobind::handle bias, float scale, float softcap);
  void run(nanobind::handle batch, nanobind::handle out);

  int64_t arena_bytes(int64_t tokens, int64_t wanted) const { return plan_.arena_bytes(tokens, wanted); }
  void measure(bool on);
  std::vector<std::pair<std::string, double>> seconds();
  size_t steps() const { return plan_.steps(); }
  int64_t columns() const { return columns_; }

 private:
  using Emit = std::function<void(Rows)>;
  struct Op {
    bool by_row;
    std::vector<int> reads;
    int writes;
    Emit emit;  // pushes the steps
  };
  int value(int64_t width);
  int record(bool by_row, std::vector<int> reads, int64_t width, std::function<void(Rows, int)> emit);
  void lay_out();
  int in(int value, Rows rows);   // the register of a value
  int out(int value, Rows rows);  // a new one
  int records(int value, Rows rows, const Packed& w);
  void product(int x, Rows rows, LinearArguments l, int residual, int to);

  void expect(int x, int64_t width, const char* what) const;
  const float* keep_floats(nanobind::handle array, const char* name, int64_t size);
  const Weight& weight(nanobind::handle w);
  Lookup lookup(Source source, nanobind::handle array, const std::string& format, int64_t width);  // a table's rows, and ids no further
  int angles(nanobind::handle inverse_frequencies, float factor, int64_t* half);
  Attend attend(nanobind::handle spec);
  Norm head_norm(nanobind::handle spec, const char* name, int64_t width);
  Batch checked(nanobind::handle batch, std::vector<Array>& held) const;

  Plan plan_;
  std::vector<Op> ops_;
  std::vector<int64_t> widths_;                                 // of values
  std::map<std::pair<int, Rows>, int> registers_;               // of values
  std::map<std::pair<int, Format>, int> records_;               // of registers, for a format of weights
  std::vector<nanobind::object> kept_;
  std::vector<Array> arrays_;
  std::vector<std::pair<std::pair<std::vector<float>, float>, int>> angles_;
  std::vector<std::unique_ptr<std::vector<float>>> own_;
  int64_t most_ids_ = INT32_MAX, most_positions_ = INT32_MAX, columns_ = 0;
  KVCache* cache_ = nullptr;
};

}  // namespace ownlm
