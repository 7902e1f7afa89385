#include "recorder.h"

namespace nb = nanobind;

namespace ownlm {

Batch Recorder::checked(nb::handle batch, std::vector<Array>& held) const {
  const auto ints = [&](const char* name, std::initializer_list<int64_t> shape) -> const Array& {
    held.emplace_back(batch.attr(name), name, 'i', shape);
    return held.back();
  };
  held.reserve(8);
  Batch b{};
  const Array& ids = ints("ids", {Array::any});
  b.tokens = ids.size(0);
  b.ids = ids.data<const int32_t>();
  b.positions = ints("positions", {b.tokens}).data<const int32_t>();
  const Array& starts = ints("cu_seqlens", {Array::any});
  b.sequences = starts.size(0) - 1;
  b.starts = starts.data<const int32_t>();
  b.lengths = ints("lengths", {b.sequences}).data<const int32_t>();
  const Array& tables = ints("block_tables", {b.sequences, Array::any});
  b.table_width = tables.size(1);
  b.tables = tables.data<const int32_t>();
  b.slots = ints("slots", {b.tokens}).data<const int32_t>();
  const Array& rows = ints("rows", {Array::any});
  b.wanted = rows.size(0);
  b.rows = rows.data<const int32_t>();
  if (const nb::object exact = nb::getattr(batch, "exact", nb::none()); !exact.is_none()) {
    held.emplace_back(exact, "exact", 'B', std::initializer_list<int64_t>{b.wanted});
    b.exact = held.back().data<const uint8_t>();
    for (int64_t i = 0; i < b.wanted; ++i) b.exact_rows += b.exact[i] != 0;
  }
  const auto within = [](const int32_t* values, int64_t count, int64_t end, const char* name) {
    for (int64_t i = 0; i < count; ++i)
      if (values[i] < 0 || values[i] >= end)
        refuse(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(values[i]) + ", not within 0 to " + std::to_string(end - 1));
  };
  within(b.ids, b.tokens, most_ids_, "ids");
  within(b.positions, b.tokens, most_positions_, "positions");
  within(b.rows, b.wanted, b.tokens, "rows");
  if (b.sequences < 0 || b.starts[0] != 0 || b.starts[b.sequences] != b.tokens) refuse("cu_seqlens must run from 0 to the number of tokens");
  for (int64_t s = 0; s < b.sequences; ++s)
    if (b.starts[s] > b.starts[s + 1]) refuse("cu_seqlens falls at position " + std::to_string(s + 1));
  if (!cache_) return b;
  within(b.slots, b.tokens, cache_->blocks * cache_->block_size, "slots");
  for (int64_t s = 0; s < b.sequences; ++s) {
    const int64_t used = ceil_div(b.lengths[s], cache_->block_size);
    if (b.lengths[s] < b.fresh(s) || used > b.table_width)
      refuse("lengths[" + std::to_string(s) + "] is " + std::to_string(b.lengths[s]) + ", which does not fit the new tokens and the block table");
    within(b.tables + s * b.table_width, used, cache_->blocks, "block_tables");
  }
  return b;
}

void Recorder::measure(bool on) {
  nb::gil_scoped_release nogil;  // waits for a run
  plan_.measure(on);
}

std::vector<std::pair<std::string, double>> Recorder::seconds() {
  std::vector<double> times;
  {
    nb::gil_scoped_release nogil;
    times = plan_.seconds();
  }
  std::vector<std::pair<std::string, double>> found;
  for (size_t i = 0; i < times.size(); ++i) found.emplace_back(plan_.step(i).name, times[i]);
  return found;
}

void Recorder::run(nb::handle batch, nb::handle out_) {
  std::vector<Array> held;
  Batch b = checked(batch, held);
  if (columns_ == 0) refuse("the plan has no logits yet");
  Array out(out_, "out", 'f', {b.wanted, columns_}, true);
  b.out = out.data<float>();
  if (b.tokens == 0) return;
  nb::gil_scoped_release nogil;
  plan_.run(b);
}

}  // namespace ownlm
