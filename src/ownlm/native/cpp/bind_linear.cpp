#include "bind_linear.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "array.h"
#include "coarse.h"
#include "drivers.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ownlm {
namespace {

constexpr int64_t any = Array::any;

struct Layout {
  Format format;
  char type;
  int64_t items, values;  // array items that hold so many weights
};

Layout layout_of(const std::string& format) {
  if (format == "f32") return {Format::f32, 'f', 1, 1};
  if (format == "bf16") return {Format::bf16, 'H', 1, 1};
  if (format == "q8_0") return {Format::q8_0, 'B', kBlockBytes, kGroup};
  if (format == "q4_0") return {Format::q4_0, 'B', kQ4BlockBytes, kGroup};
  if (format == "q4_k") return {Format::q4_k, 'B', stored_row_bytes(Format::q4_k, kSuper), kSuper};
  if (format == "q5_k") return {Format::q5_k, 'B', stored_row_bytes(Format::q5_k, kSuper), kSuper};
  if (format == "q6_k") return {Format::q6_k, 'B', stored_row_bytes(Format::q6_k, kSuper), kSuper};
  refuse("format is '" + format + "', not 'f32', 'bf16', 'q8_0', 'q4_0', 'q4_k', 'q5_k' or 'q6_k'");
}

std::string format_name(Format f) {
  constexpr const char* names[] = {"f32", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"};
  return names[static_cast<int>(f)];
}

Array stored(nb::handle object, const char* name, const std::string& format, const Layout& layout) {
  Array w(object, name, layout.type, {any, any});
  if (w.size(1) % layout.items != 0)
    refuse(std::string(name) + " has rows of " + std::to_string(w.size(1)) + " bytes, not a multiple of " + std::to_string(layout.items) +
           " (" + format + " blocks of " + std::to_string(layout.values) + " weights)");
  return w;
}

Weight pack_checked(nb::list matrices, const std::string& format) {
  const Layout layout = layout_of(format);
  std::vector<Array> held;
  std::vector<Stored> stacked;
  for (nb::handle matrix : matrices) {
    held.push_back(stored(matrix, "w", format, layout));
    if (held.back().size(1) != held.front().size(1))
      refuse("matrices have rows of " + std::to_string(held.front().size(1)) + " and " + std::to_string(held.back().size(1)) + ": they cannot be stacked");
    stacked.push_back({held.back().data<const uint8_t>(), held.back().size(0)});
  }
  if (held.empty()) refuse("pack needs a matrix");
  const int64_t k = held.front().size(1) / layout.items * layout.values;
  nb::gil_scoped_release nogil;
  return pack(layout.format, stacked, k);
}

Weight pack_glu_checked(nb::handle gate_, nb::handle up_, const std::string& format) {
  const Layout layout = layout_of(format);
  Array gate = stored(gate_, "gate", format, layout), up = stored(up_, "up", format, layout);
  if (gate.size(0) != up.size(0) || gate.size(1) != up.size(1)) refuse("gate and up differ in shape");
  const int64_t k = gate.size(1) / layout.items * layout.values;
  nb::gil_scoped_release nogil;
  return pack_glu(layout.format, {gate.data<const uint8_t>(), gate.size(0)}, {up.data<const uint8_t>(), up.size(0)}, k);
}

// (copy, spread): see coarse.h
nb::tuple coarse_checked(nb::handle rows_, const std::string& format, int64_t k) {
  const Layout layout = layout_of(format);
  if (layout.format == Format::q4_0) refuse("a coarse copy of q4_0 would be itself");
  if (k < 1 || k % kGroup) refuse("rows of " + std::to_string(k) + " values cannot be cut into blocks of 32");
  Array rows(rows_, "rows", 'B', {any, stored_row_bytes(layout.format, k)});
  Coarse made = [&] {
    nb::gil_scoped_release nogil;
    return coarse(layout.format, rows.data<const uint8_t>(), rows.size(0), k);
  }();
  return nb::make_tuple(std::move(made.weight), std::move(made.spread));
}

Glu glu_of(const std::string& name) {
  if (name == "silu") return Glu::silu;
  if (name == "gelu") return Glu::gelu;
  if (name == "gelu_tanh") return Glu::gelu_tanh;
  if (name == "swiglu_oai") return Glu::swiglu_oai;
  refuse("activation is '" + name + "', not 'silu', 'gelu', 'gelu_tanh' or 'swiglu_oai'");
}

Activation activation_of(const std::string& name) {
  if (name.empty()) return Activation::none;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "silu") return Activation::silu;
  if (name == "relu2") return Activation::relu2;
  refuse("activation is '" + name + "', not '', 'gelu', 'gelu_tanh', 'silu' or 'relu2'");
}

Weight chained(std::vector<Weight> segments) {
  while (segments.size() > 1) {
    Weight last = std::move(segments.back());
    segments.pop_back();
    link(segments.back(), std::move(last));
  }
  return std::move(segments.front());
}

// A checkpoint's matrices in a format each; neighbours of one format are packed together.
Weight pack_mixed(nb::list matrices, const std::vector<std::string>& formats) {
  if (nb::len(matrices) != formats.size() || formats.empty()) refuse("pack needs matrices, and as many formats");
  std::vector<Weight> segments;
  for (size_t i = 0, end; i < formats.size(); i = end) {
    nb::list same;
    for (end = i; end < formats.size() && formats[end] == formats[i]; ++end) same.append(matrices[end]);
    segments.push_back(pack_checked(same, formats[i]));
    if (segments.back().packed.k != segments.front().packed.k) refuse("matrices of " + std::to_string(segments.front().packed.k) + " and " + std::to_string(segments.back().packed.k) + " columns cannot be stacked");
  }
  return chained(std::move(segments));
}

// (format, rows, columns, glu, data, scales) of each segment; the arrays are views that keep the weight alive.
nb::list parts(nb::handle self) {
  nb::list found;
  for (const Weight* w = &nb::cast<const Weight&>(self); w; w = w->next.get()) {
    const auto view = [&](const void* data, int64_t bytes) {
      const size_t shape[] = {static_cast<size_t>(bytes)};
      return nb::ndarray<nb::numpy, const uint8_t>(data, 1, shape, self);
    };
    found.append(nb::make_tuple(format_name(w->packed.format), w->packed.n, w->packed.k, w->packed.glu,
                                view(w->packed.data, data_bytes(w->packed)), view(w->packed.scales, scale_bytes(w->packed))));
  }
  return found;
}

// The inverse: over the arrays themselves, which are kept.
Weight from_parts(nb::list parts) {
  std::vector<Weight> segments;
  for (nb::handle part : parts) {
    const auto format = nb::cast<std::string>(part[0]);
    Packed w{layout_of(format).format, nb::cast<int64_t>(part[1]), nb::cast<int64_t>(part[2]), nullptr, nullptr, nb::cast<bool>(part[3])};
    constexpr int64_t kMost = int64_t{1} << 40;
    if (w.n < 1 || w.k < 1 || w.n > kMost / w.k || w.k % layout_of(format).values || (w.glu && w.n % 2))
      refuse("a packed " + format + " matrix cannot have " + std::to_string(w.n) + " x " + std::to_string(w.k) + " weights");
    struct Held {
      Array data, scales;
    };
    auto held = std::make_shared<Held>(Held{Array(part[4], "data", 'B', {data_bytes(w)}), Array(part[5], "scales", 'B', {scale_bytes(w)})});
    w.data = held->data.data<const uint8_t>();
    w.scales = held->scales.data<const uint16_t>();
    if (reinterpret_cast<uintptr_t>(w.data) % kAlign || (scale_bytes(w) && reinterpret_cast<uintptr_t>(w.scales) % kAlign))
      refuse("packed data has to begin at a multiple of " + std::to_string(kAlign) + " bytes");
    const size_t bytes = static_cast<size_t>(data_bytes(w) + scale_bytes(w));
    segments.push_back({w, nullptr, nullptr, bytes, held});
    if (w.k != segments.front().packed.k || (w.glu && nb::len(parts) > 1)) refuse("these parts are not of one matrix");
  }
  if (segments.empty()) refuse("a packed matrix has at least one part");
  return chained(std::move(segments));
}

size_t all_bytes(const Weight& w) { return w.bytes + (w.next ? all_bytes(*w.next) : 0); }
std::string all_formats(const Weight& w) { return format_name(w.packed.format) + (w.next ? "+" + all_formats(*w.next) : ""); }

void linear_checked(nb::handle x_, const Weight& w, nb::handle bias_, nb::handle residual_, const std::string& activation, float scale,
                    nb::handle out_) {
  const Packed& p = w.packed;
  const int64_t n = all_rows(p), columns = p.glu ? outputs(p) : n;
  Array x(x_, "x", 'f', {any, p.k});
  const int64_t rows = x.size(0);
  Array out(out_, "out", 'f', {rows, columns}, true);
  const auto bias = optional_floats(bias_, "bias", {n});
  const auto residual = optional_floats(residual_, "residual", {rows, columns});
  if (out.overlaps(x)) refuse("out overlaps x");
  if (residual && !out.same(*residual) && out.overlaps(*residual)) refuse("out overlaps residual in part");
  Linear l{p, pointer(bias), pointer(residual), out.data<float>()};
  if (p.glu) l.glu = glu_of(activation);
  else l.activation = activation_of(activation);
  l.scale = scale;
  nb::gil_scoped_release nogil;
  linear(l, x.data<const float>(), rows);
}

}  // namespace

void bind_linear(nb::module_& m) {
  nb::class_<Weight>(m, "Linear", "A weight matrix packed for the kernels: [rows outputs, columns inputs].")
      .def_prop_ro("rows", [](const Weight& w) { return all_rows(w.packed); })
      .def_prop_ro("columns", [](const Weight& w) { return w.packed.k; })
      .def_prop_ro("format", &all_formats)
      .def_prop_ro("glu", [](const Weight& w) { return w.packed.glu; })
      .def_prop_ro("nbytes", &all_bytes)
      .def_prop_ro("parts", &parts);
  m.def("pack", &pack_checked, "matrices"_a, "format"_a);
  m.def("layout", [] { return kLayout; });
  m.def("pack_mixed", &pack_mixed, "matrices"_a, "formats"_a);
  m.def("from_parts", &from_parts, "parts"_a);
  m.def("pack_glu", &pack_glu_checked, "gate"_a, "up"_a, "format"_a);
  m.def("coarse", &coarse_checked, "rows"_a, "format"_a, "columns"_a);
  m.def("linear", &linear_checked, "x"_a, "w"_a, "bias"_a.none(), "residual"_a.none(), "activation"_a, "scale"_a, "out"_a);
}

}  // namespace ownlm
