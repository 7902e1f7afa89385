#include "recorder.h"

#include <algorithm>

namespace nb = nanobind;

namespace ownlm {
namespace {

template <class T>
T field(nb::handle object, const char* name) { return nb::cast<T>(object.attr(name)); }

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
  refuse("a table's format is '" + name + "', not f32, bf16, f16, q8_0 or q4_0");
}

}  // namespace

int Recorder::floats(Rows rows, int64_t width) {
  const int r = plan_.add(rows, width * static_cast<int64_t>(sizeof(float)));
  widths_[r] = width;
  return r;
}

void Recorder::expect(int x, int64_t width, const char* what) const {
  const auto found = widths_.find(x);
  if (found == widths_.end()) refuse(std::string(what) + " is not a value of this plan");
  if (found->second != width)
    refuse(std::string(what) + " has rows of " + std::to_string(found->second) + ", not " + std::to_string(width));
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

int Recorder::converted(int x, Rows rows, const Packed& w) {
  if (!converted_bytes(w)) return x;
  const auto found = converted_.find({x, w.format});
  if (found != converted_.end()) return found->second;
  const int to = plan_.add(rows, converted_bytes(w));
  plan_.push(make_convert(x, rows, 1, w, to));
  return converted_[{x, w.format}] = to;
}

int Recorder::product(int x, Rows rows, LinearArguments l, int out, LogitsScale logits) {
  expect(x, l.w->k, "x");
  plan_.push(make_linear(converted(x, rows, *l.w), rows, l, out, logits));
  return out;
}

int Recorder::embed(const std::vector<Table>& tables, int64_t width, float scale) {
  std::vector<Lookup> lookups;
  for (const auto& [source, array, format] : tables) {
    const Layout l = layout_named(format);
    if (width % l.values) refuse("a " + format + " table has rows of a multiple of 32 values, not " + std::to_string(width));
    arrays_.emplace_back(array, "table", l.type, std::initializer_list<int64_t>{Array::any, width / l.values * l.bytes});
    const int64_t rows = arrays_.back().size(0);
    const bool ids = source == "ids";
    int64_t& most = ids ? most_ids_ : most_positions_;
    most = std::min(most, rows);
    lookups.push_back({ids ? Source::ids : Source::positions, l.format, arrays_.back().data<const uint8_t>(), rows});
  }
  if (lookups.empty()) refuse("embed needs a table");
  const int out = floats(Rows::tokens, width);
  plan_.push(make_embed(std::move(lookups), width, scale, out));
  return out;
}

int Recorder::norm(int x, nb::handle weight_, nb::handle bias, float eps, float offset, int residual) {
  const int64_t width = widths_.count(x) ? widths_[x] : 0;
  expect(x, width, "x");
  if (residual >= 0) expect(residual, width, "residual");
  const Norm n{keep_floats(weight_, "weight", width), keep_floats(bias, "bias", width), eps, offset};
  const int out = floats(Rows::tokens, width);
  plan_.push(make_norm(x, width, n, residual, out));
  return out;
}

int Recorder::linear(int x, nb::handle w_, nb::handle bias, int residual, float residual_scale, const std::string& activation) {
  const Packed& w = weight(w_).packed;
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", w.n);
  l.residual = residual;
  l.residual_scale = residual_scale;
  if (activation == "gelu") l.activation = Activation::gelu;
  else if (activation == "gelu_tanh") l.activation = Activation::gelu_tanh;
  else if (!activation.empty()) refuse("activation is '" + activation + "', not '', 'gelu' or 'gelu_tanh'");
  if (residual >= 0) expect(residual, w.n, "residual");
  return product(x, Rows::tokens, l, floats(Rows::tokens, w.n));
}

int Recorder::glu_linear(int x, nb::handle w_, nb::handle bias, const std::string& activation) {
  const Packed& w = weight(w_).packed;
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", w.n);
  const int both = product(x, Rows::tokens, l, floats(Rows::tokens, w.n));
  const int out = floats(Rows::tokens, w.n / 2);
  plan_.push(make_glu(both, Rows::tokens, 1, w.n / 2, glu_named(activation), out));
  return out;
}

int Recorder::angles(nb::handle inverse_frequencies, float factor, int64_t* half) {
  Array f(inverse_frequencies, "inverse_frequencies", 'f', {Array::any});
  *half = f.size(0);
  std::vector<float> values(f.data<const float>(), f.data<const float>() + f.size(0));
  std::pair<std::vector<float>, float> key{std::move(values), factor};
  for (const auto& [known, reg] : angles_)
    if (known == key) return reg;
  own_.push_back(std::make_unique<std::vector<float>>(key.first));
  const int out = plan_.add(Rows::tokens, *half * 2 * static_cast<int64_t>(sizeof(float)));
  plan_.push(make_angles(own_.back()->data(), *half, factor, out));
  angles_.push_back({std::move(key), out});
  return out;
}

Attend Recorder::attend(nb::handle spec) {
  Attend a;
  a.heads = field<int64_t>(spec, "heads");
  a.kv_heads = field<int64_t>(spec, "kv_heads");
  a.head_dim = field<int64_t>(spec, "head_dim");
  a.window = field<int64_t>(spec, "window");
  a.scale = field<float>(spec, "scale");
  a.softcap = field<float>(spec, "softcap");
  a.layer = field<int64_t>(spec, "layer");
  if (a.kv_heads < 1 || a.heads < 1 || a.heads % a.kv_heads) refuse(std::to_string(a.kv_heads) + " kv_heads do not divide the heads");
  a.sinks = keep_floats(spec.attr("sinks"), "sinks", a.heads);
  kept_.push_back(spec.attr("cache"));
  a.cache = nb::cast<KVCache*>(kept_.back());
  if (cache_ && cache_ != a.cache) refuse("the layers of a plan share one cache");
  cache_ = a.cache;
  if (cache_->heads != a.kv_heads || cache_->head_dim != a.head_dim || a.layer < 0 || a.layer >= cache_->layers)
    refuse("layer " + std::to_string(a.layer) + " with " + std::to_string(a.kv_heads) + " heads of " + std::to_string(a.head_dim) +
           " does not fit the cache");
  return a;
}

Norm Recorder::head_norm(nb::handle spec, const char* name, int64_t width) {
  nb::object n = spec.attr(name);
  if (n.is_none()) return {nullptr, nullptr, 0, 0};
  return {keep_floats(n.attr("weight"), name, width), nullptr, field<float>(n, "eps"), field<float>(n, "offset")};
}

int Recorder::qkv_rope(int x, nb::handle w_, nb::handle bias, nb::handle spec) {
  const Packed& w = weight(w_).packed;
  const Attend a = attend(spec);
  if (w.n != (a.heads + 2 * a.kv_heads) * a.head_dim) refuse("the projection has " + std::to_string(w.n) + " outputs, which do not match the heads");
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", w.n);
  HeadNorms norms;
  norms.whole_row = field<bool>(spec, "whole_row_norm");
  norms.q = head_norm(spec, "q_norm", norms.whole_row ? a.heads * a.head_dim : a.head_dim);
  norms.k = head_norm(spec, "k_norm", norms.whole_row ? a.kv_heads * a.head_dim : a.head_dim);
  int64_t half = 0;
  nb::object frequencies = spec.attr("inverse_frequencies");
  const int turn = frequencies.is_none() ? -1 : angles(frequencies, field<float>(spec, "attention_factor"), &half);
  if (2 * half > a.head_dim) refuse("rotary dimensions exceed the head's");
  const int qkv = product(x, Rows::tokens, l, floats(Rows::tokens, w.n));
  plan_.push(make_rope_store(qkv, turn, half, a, norms));
  return qkv;
}

int Recorder::attention(int qkv, nb::handle spec) {
  const Attend a = attend(spec);
  expect(qkv, (a.heads + 2 * a.kv_heads) * a.head_dim, "q");
  const int out = floats(Rows::tokens, a.heads * a.head_dim);
  push_attention(plan_, qkv, a, out);
  return out;
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
    if (e.gate_up[i]->n != 2 * inner || e.gate_up[i]->k != width || e.down[i]->n != width || e.down[i]->k != inner ||
        e.gate_up[i]->format != e.gate_up[0]->format || e.down[i]->format != e.down[0]->format)
      refuse("expert " + std::to_string(i) + " has weights of another shape or format");
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
  const int out = floats(Rows::tokens, width);
  push_moe(plan_, x, e, residual, out);
  return out;
}

void Recorder::logits(int x, nb::handle w_, nb::handle bias, float scale, float softcap) {
  const Packed& w = weight(w_).packed;
  expect(x, w.k, "x");
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", w.n);
  const int rows = floats(Rows::wanted, w.k);
  plan_.push(make_gather(x, w.k, rows));
  product(rows, Rows::wanted, l, -1, {scale, softcap});
  columns_ = w.n;
  plan_.finish();
}

Batch Recorder::checked(nb::handle batch, std::vector<Array>& held) const {
  const auto ints = [&](const char* name, std::initializer_list<int64_t> shape) -> const Array& {
    held.emplace_back(batch.attr(name), name, 'i', shape);
    return held.back();
  };
  held.reserve(7);
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
