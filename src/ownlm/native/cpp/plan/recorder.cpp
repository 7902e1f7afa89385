#include "recorder.h"

#include <algorithm>

namespace nb = nanobind;

namespace ownlm {
namespace {

Glu glu_named(const std::string& name) {
  if (name == "silu") return Glu::silu;
  if (name == "gelu") return Glu::gelu;
  if (name == "gelu_tanh") return Glu::gelu_tanh;
  if (name == "swiglu_oai") return Glu::swiglu_oai;
  refuse("activation is '" + name + "', not 'silu', 'gelu', 'gelu_tanh' or 'swiglu_oai'");
}

struct Layout {
  Lookup::Format format;
  char type;
  int64_t bytes, values;  // of a block
};

Layout layout_named(const std::string& name) {
  if (name == "f32") return {Lookup::Format::f32, 'f', 1, 1};
  if (name == "bf16") return {Lookup::Format::bf16, 'B', 2, 1};
  if (name == "f16") return {Lookup::Format::f16, 'B', 2, 1};
  if (name == "q8_0") return {Lookup::Format::q8_0, 'B', 34, 32};
  if (name == "q4_0") return {Lookup::Format::q4_0, 'B', 18, 32};
  if (name == "q4_k") return {Lookup::Format::q4_k, 'B', 144, 256};
  if (name == "q5_k") return {Lookup::Format::q5_k, 'B', 176, 256};
  if (name == "q6_k") return {Lookup::Format::q6_k, 'B', 210, 256};
  refuse("a table's format is '" + name + "', not f32, bf16, f16, q8_0, q4_0, q4_k, q5_k or q6_k");
}

}  // namespace

int Recorder::value(int64_t width) {
  widths_.push_back(width);
  return static_cast<int>(widths_.size()) - 1;
}

int Recorder::record(bool by_row, std::vector<int> reads, int64_t width, std::function<void(Rows, int)> emit) {
  if (columns_) refuse("the plan is closed: logits were the last operation");
  const int to = value(width);
  ops_.push_back({by_row, std::move(reads), to, [emit = std::move(emit), to](Rows rows) { emit(rows, to); }});
  return to;
}

int Recorder::in(int v, Rows rows) {
  if (v < 0) return -1;
  const auto found = registers_.find({v, rows});
  if (found != registers_.end()) return found->second;
  const int from = registers_.at({v, Rows::tokens}), to = out(v, rows);
  plan_.push(make_gather(from, widths_[static_cast<size_t>(v)], to));
  return to;
}

int Recorder::out(int v, Rows rows) {
  return registers_[{v, rows}] = plan_.add(rows, widths_[static_cast<size_t>(v)] * static_cast<int64_t>(sizeof(float)));
}

int Recorder::records(int v, Rows rows, const Packed& w) {
  const int x = in(v, rows);
  if (!converts(w.format)) return x;
  const Format kind = is_k(w.format) ? Format::q4_k : w.format;  // the K formats take one kind of records
  const auto found = records_.find({x, kind});
  if (found != records_.end()) return found->second;
  const int to = plan_.add(rows, record_bytes(w));
  plan_.push(make_convert(x, rows, 1, w, to));
  return records_[{x, kind}] = to;
}

void Recorder::product(int x, Rows rows, LinearArguments l, int residual, int to) {
  l.residual = in(residual, rows);
  const int reg = to < 0 ? -1 : out(to, rows);
  if (l.w->next) l.stride = all_rows(*l.w);
  for (; l.w; l.w = l.w->next) {
    plan_.push(make_linear(records(x, rows, *l.w), rows, l, reg));
    if (l.bias) l.bias += l.w->n;
    l.column += l.w->n;
  }
}

// Backwards: a value of which only wanted rows are read is computed for them alone, if its operation works by rows.
void Recorder::lay_out() {
  std::vector<char> whole(widths_.size(), 0);
  std::vector<Rows> rows(ops_.size());
  for (size_t i = ops_.size(); i-- > 0;) {
    const Op& op = ops_[i];
    rows[i] = op.by_row && (op.writes < 0 || !whole[static_cast<size_t>(op.writes)]) ? Rows::wanted : Rows::tokens;
    if (rows[i] == Rows::tokens)
      for (int r : op.reads)
        if (r >= 0) whole[static_cast<size_t>(r)] = 1;
  }
  for (size_t i = 0; i < ops_.size(); ++i) ops_[i].emit(rows[i]);
  ops_.clear();
  plan_.finish();
}

void Recorder::expect(int x, int64_t width, const char* what) const {
  if (x < 0 || x >= static_cast<int>(widths_.size())) refuse(std::string(what) + " is not a value of this plan");
  const int64_t found = widths_[static_cast<size_t>(x)];
  if (found != width) refuse(std::string(what) + " has rows of " + std::to_string(found) + ", not " + std::to_string(width));
}

const float* Recorder::keep_floats(nb::handle array, const char* name, int64_t size) {
  if (array.is_none()) return nullptr;
  arrays_.emplace_back(array, name, 'f', std::initializer_list<int64_t>{size});
  return arrays_.back().data<const float>();
}

const Weight& Recorder::weight(nb::handle w) {
  kept_.push_back(nb::borrow(w));
  return nb::cast<const Weight&>(w);
}

Lookup Recorder::lookup(Source source, nb::handle array, const std::string& format, int64_t width) {
  const Layout l = layout_named(format);
  if (width % l.values) refuse("a " + format + " table has rows of a multiple of " + std::to_string(l.values) + " values, not " + std::to_string(width));
  arrays_.emplace_back(array, "table", l.type, std::initializer_list<int64_t>{Array::any, width / l.values * l.bytes});
  const int64_t rows = arrays_.back().size(0);
  int64_t& most = source == Source::ids ? most_ids_ : most_positions_;
  most = std::min(most, rows);
  return {source, l.format, arrays_.back().data<const uint8_t>(), rows};
}

int Recorder::embed(const std::vector<Table>& tables, int64_t width, float scale) {
  std::vector<Lookup> lookups;
  for (const auto& [source, array, format] : tables) lookups.push_back(lookup(source == "ids" ? Source::ids : Source::positions, array, format, width));
  if (lookups.empty()) refuse("embed needs a table");
  return record(false, {}, width, [this, lookups, width, scale](Rows rows, int to) { plan_.push(make_embed(lookups, width, scale, out(to, rows))); });
}

int Recorder::norm(int x, nb::handle weight_, nb::handle bias, float eps, float offset, int residual) {
  if (x < 0 || x >= static_cast<int>(widths_.size())) refuse("x is not a value of this plan");
  const int64_t width = widths_[static_cast<size_t>(x)];
  if (residual >= 0) expect(residual, width, "residual");
  const Norm n{keep_floats(weight_, "weight", width), keep_floats(bias, "bias", width), eps, offset};
  return record(true, {x, residual}, width, [=](Rows rows, int to) {
    const int from = in(x, rows), plus = in(residual, rows);
    plan_.push(make_norm(from, rows, width, n, plus, out(to, rows)));
  });
}

int Recorder::linear(int x, nb::handle w_, nb::handle bias, int residual, float residual_scale, const std::string& activation) {
  const Packed& w = weight(w_).packed;
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", all_rows(w));
  l.scale = residual_scale;
  if (activation == "gelu") l.activation = Activation::gelu;
  else if (activation == "gelu_tanh") l.activation = Activation::gelu_tanh;
  else if (activation == "relu2") l.activation = Activation::relu2;
  else if (!activation.empty()) refuse("activation is '" + activation + "', not '', 'gelu', 'gelu_tanh' or 'relu2'");
  if (w.glu) refuse("a gated weight belongs to glu_linear");
  if (residual >= 0) expect(residual, all_rows(w), "residual");
  expect(x, w.k, "x");
  return record(true, {x, residual}, all_rows(w), [=](Rows rows, int to) { product(x, rows, l, residual, to); });
}

int Recorder::glu_linear(int x, nb::handle w_, nb::handle bias, const std::string& activation) {
  const Packed& w = weight(w_).packed;
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", all_rows(w));
  l.glu = glu_named(activation);
  if (!w.glu) refuse("glu_linear needs a weight packed by pack_glu");
  expect(x, w.k, "x");
  return record(true, {x}, outputs(w), [=](Rows rows, int to) { product(x, rows, l, -1, to); });
}

int Recorder::moe(int x, nb::handle m, int residual) {
  Experts e;
  e.router = &weight(m.attr("router")).packed;
  const int64_t width = e.router->k, experts = e.router->n;
  expect(x, width, "x");
  for (nb::handle w : m.attr("gate_up")) e.gate_up.push_back(&weight(w).packed);
  for (nb::handle w : m.attr("down")) e.down.push_back(&weight(w).packed);
  if (static_cast<int64_t>(e.gate_up.size()) != experts || static_cast<int64_t>(e.down.size()) != experts)
    refuse("the router knows " + std::to_string(experts) + " experts, there are " + std::to_string(e.gate_up.size()));
  const int64_t inner = e.down[0]->k;
  for (size_t i = 0; i < e.gate_up.size(); ++i)
    if (!e.gate_up[i]->glu || e.down[i]->next || e.gate_up[i]->n != 2 * inner || e.gate_up[i]->k != width || e.down[i]->n != width || e.down[i]->k != inner ||
        e.gate_up[i]->format != e.gate_up[0]->format || e.down[i]->format != e.down[0]->format)
      refuse("expert " + std::to_string(i) + " has weights of another shape or format, or its gate is not packed by pack_glu");
  e.router_bias = keep_floats(m.attr("router_bias"), "router_bias", experts);
  const auto biases = [&](const char* name, int64_t columns) -> const float* {
    nb::object b = m.attr(name);
    if (b.is_none()) return nullptr;
    arrays_.emplace_back(b, name, 'f', std::initializer_list<int64_t>{experts, columns});
    return arrays_.back().data<const float>();
  };
  e.gate_up_bias = biases("gate_up_bias", 2 * inner);
  e.down_bias = biases("down_bias", width);
  e.chosen = field<int64_t>(m, "chosen");
  if (e.chosen < 1 || e.chosen > experts) refuse("cannot choose " + std::to_string(e.chosen) + " of " + std::to_string(experts) + " experts");
  e.scoring = field<bool>(m, "softmax_of_chosen") ? Scoring::softmax_of_chosen : Scoring::softmax;
  e.normalize = field<bool>(m, "normalize");
  e.activation = glu_named(field<std::string>(m, "activation"));
  e.residual_scale = field<float>(m, "residual_scale");
  if (residual >= 0) expect(residual, width, "residual");
  return record(true, {x, residual}, width, [=](Rows rows, int to) {
    const int from = in(x, rows), plus = in(residual, rows);
    push_moe(plan_, from, rows, e, plus, out(to, rows));
  });
}

void Recorder::rescored_logits(int x, nb::handle head, nb::handle bias, float scale, float softcap) {
  RescoredHead h{};
  h.copy = &weight(head.attr("copy")).packed;
  const std::string format = field<std::string>(head, "format");
  if (format == "f32") h.exact.format = Format::f32;
  else if (format == "bf16") h.exact.format = Format::bf16;
  else if (format == "q8_0") h.exact.format = Format::q8_0;
  else refuse("a head that is rescored is f32, bf16 or q8_0, not " + format);
  h.exact.n = h.copy->n;
  h.exact.k = h.copy->k;
  if (h.copy->format != Format::q4_0 || h.copy->glu) refuse("a head's copy is q4_0");
  expect(x, h.exact.k, "x");
  arrays_.emplace_back(head.attr("rows"), "rows", 'B', std::initializer_list<int64_t>{h.exact.n, stored_row_bytes(h.exact.format, h.exact.k)});
  h.rows = arrays_.back().data<const uint8_t>();
  h.spread = keep_floats(head.attr("spread"), "spread", h.exact.k);
  h.bias = keep_floats(bias, "bias", h.exact.n);
  h.scale = scale;
  ops_.push_back({true, {x}, -1, [=](Rows rows) {
    const int copied = records(x, rows, *h.copy), own = records(x, rows, h.exact);
    push_rescored_head(plan_, in(x, rows), copied, own, h);
    if (softcap > 0) plan_.push(make_softcap(h.exact.n, softcap));
  }});
  columns_ = h.exact.n;
  lay_out();
}

void Recorder::logits(int x, nb::handle w_, nb::handle bias, float scale, float softcap) {
  const Packed& w = weight(w_).packed;
  expect(x, w.k, "x");
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", all_rows(w));
  l.scale = scale;
  ops_.push_back({true, {x}, -1, [=](Rows rows) {
    product(x, rows, l, -1, -1);
    if (softcap > 0) plan_.push(make_softcap(all_rows(*l.w), softcap));
  }});
  columns_ = all_rows(w);
  lay_out();
}

}  // namespace ownlm
