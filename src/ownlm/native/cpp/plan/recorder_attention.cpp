#include "recorder.h"

namespace nb = nanobind;

namespace ownlm {

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
  if (nb::object table = spec.attr("value_table"); !table.is_none())
    a.values = lookup(Source::ids, table[0], nb::cast<std::string>(table[1]), a.kv_heads * a.head_dim);
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
  if (all_rows(w) != a.row()) refuse("the projection has " + std::to_string(all_rows(w)) + " outputs, which do not match the heads");
  LinearArguments l;
  l.w = &w;
  l.bias = keep_floats(bias, "bias", all_rows(w));
  HeadNorms norms;
  norms.whole_row = field<bool>(spec, "whole_row_norm");
  norms.q = head_norm(spec, "q_norm", norms.whole_row ? a.heads * a.head_dim : a.head_dim);
  norms.k = head_norm(spec, "k_norm", norms.whole_row ? a.kv_heads * a.head_dim : a.head_dim);
  int64_t half = 0;
  nb::object frequencies = spec.attr("inverse_frequencies");
  const int turn = frequencies.is_none() ? -1 : angles(frequencies, field<float>(spec, "attention_factor"), &half);
  if (2 * half > a.head_dim) refuse("rotary dimensions exceed the head's");
  expect(x, w.k, "x");
  return record(false, {x}, all_rows(w), [=](Rows rows, int to) {
    product(x, rows, l, -1, to);
    plan_.push(make_rope_store(in(to, rows), turn, half, a, norms));
  });
}

int Recorder::attention(int qkv, nb::handle spec) {
  const Attend a = attend(spec);
  expect(qkv, a.row(), "q");
  return record(false, {qkv}, a.heads * a.head_dim, [=](Rows rows, int to) {
    const int from = in(qkv, rows);
    push_attention(plan_, from, a, out(to, rows));
  });
}

}  // namespace ownlm
