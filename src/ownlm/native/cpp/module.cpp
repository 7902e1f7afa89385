// ownlm.native._kernels: checks arguments, lets go of the GIL, calls the drivers.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arena.h"
#include "array.h"
#include "bind_linear.h"
#include "cpu.h"
#include "drivers.h"
#include "plan/bind.h"
#include "pool.h"
#include "probe.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ownlm {
namespace {

constexpr int64_t any = Array::any;

Array check_starts(nb::handle object, int64_t rows) {
  Array starts(object, "cu_seqlens", 'i', {any});
  const int32_t* s = starts.data<const int32_t>();
  const int64_t n = starts.size(0);
  if (n == 0 || s[0] != 0 || s[n - 1] != rows)
    refuse("cu_seqlens must run from 0 to the number of rows, " + std::to_string(rows));
  for (int64_t i = 1; i < n; ++i)
    if (s[i] < s[i - 1]) refuse("cu_seqlens falls at position " + std::to_string(i));
  return starts;
}

// A float32 array [rows, columns] whose memory goes back to the arena when NumPy drops it.
nb::ndarray<nb::numpy, float> empty(size_t rows, size_t columns) {
  struct Owned {
    void* data;
    size_t bytes;
    ~Owned() { arena::give_back(data, bytes); }
  };
  const size_t bytes = rows * columns * sizeof(float);
  if (columns && rows > SIZE_MAX / sizeof(float) / columns) throw std::bad_alloc();
  Owned* owned = new Owned{arena::take(bytes), bytes};
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<Owned*>(p); });
  const size_t shape[] = {rows, columns};
  return nb::ndarray<nb::numpy, float>(owned->data, 2, shape, owner);
}

void embed_checked(nb::list ids_, nb::list tables_, nb::handle out_) {
  Array out(out_, "out", 'f', {any, any}, true);
  const int64_t rows = out.size(0), width = out.size(1);
  std::vector<Array> held;
  std::vector<Table> tables;
  if (nb::len(ids_) == 0 || nb::len(ids_) != nb::len(tables_)) refuse("embed needs as many tables as ids, at least one");
  for (size_t i = 0; i < nb::len(ids_); ++i) {
    Array ids(ids_[i], "ids", 'i', {rows});
    Py_buffer probe;
    bool floats = false;
    if (PyObject_GetBuffer(nb::handle(tables_[i]).ptr(), &probe, PyBUF_FORMAT | PyBUF_STRIDES) == 0) {
      floats = probe.itemsize == 4;
      PyBuffer_Release(&probe);
    } else {
      PyErr_Clear();
    }
    Table t{nullptr, nullptr, ids.data<const int32_t>()};
    Array table(tables_[i], "table", floats ? 'f' : 'B', {any, floats ? width : width / kGroup * kBlockBytes});
    if (floats) t.floats = table.data<const float>();
    else if (width % kGroup) refuse("a Q8_0 table has rows of a multiple of 32 values, out has " + std::to_string(width));
    else t.blocks = table.data<const uint8_t>();
    for (int64_t r = 0; r < rows; ++r)
      if (t.ids[r] < 0 || t.ids[r] >= table.size(0))
        refuse("id " + std::to_string(t.ids[r]) + " at position " + std::to_string(r) + " is outside the table of " +
               std::to_string(table.size(0)) + " rows");
    tables.push_back(t);
    held.push_back(std::move(ids));
    held.push_back(std::move(table));
  }
  nb::gil_scoped_release nogil;
  embed(tables, rows, width, out.data<float>());
}

void layer_norm_checked(nb::handle x_, nb::handle weight_, nb::handle bias_, float eps, nb::handle residual_, nb::handle out_) {
  Array x(x_, "x", 'f', {any, any});
  const int64_t rows = x.size(0), width = x.size(1);
  Array weight(weight_, "weight", 'f', {width}), bias(bias_, "bias", 'f', {width});
  const auto residual = optional_floats(residual_, "residual", {rows, width});
  Array out(out_, "out", 'f', {rows, width}, true);
  if (!out.same(x) && out.overlaps(x)) refuse("out overlaps x in part");
  if (residual && !out.same(*residual) && out.overlaps(*residual)) refuse("out overlaps residual in part");
  if (width == 0) return;
  nb::gil_scoped_release nogil;
  layer_norm({x.data<const float>(), pointer(residual), weight.data<const float>(), bias.data<const float>(), out.data<float>(), width, eps},
             rows);
}

void attention_checked(nb::handle qkv_, nb::handle starts_, int64_t heads, float scale, nb::handle out_) {
  Array qkv(qkv_, "qkv", 'f', {any, any});
  if (heads < 1 || qkv.size(1) == 0 || qkv.size(1) % (3 * heads) != 0)
    refuse("qkv has rows of " + std::to_string(qkv.size(1)) + ", not a multiple of 3 x " + std::to_string(heads) + " heads");
  const int64_t head_dim = qkv.size(1) / (3 * heads);
  Array starts = check_starts(starts_, qkv.size(0));
  Array out(out_, "out", 'f', {qkv.size(0), heads * head_dim}, true);
  if (out.overlaps(qkv)) refuse("out overlaps qkv");
  nb::gil_scoped_release nogil;
  attention(qkv.data<const float>(), starts.data<const int32_t>(), starts.size(0) - 1, heads, head_dim, scale, out.data<float>());
}

void mean_pool_checked(nb::handle x_, nb::handle starts_, bool normalize, nb::handle out_) {
  Array x(x_, "x", 'f', {any, any});
  Array starts = check_starts(starts_, x.size(0));
  Array out(out_, "out", 'f', {starts.size(0) - 1, x.size(1)}, true);
  if (out.overlaps(x)) refuse("out overlaps x");
  nb::gil_scoped_release nogil;
  mean_pool(x.data<const float>(), starts.data<const int32_t>(), starts.size(0) - 1, x.size(1), normalize, out.data<float>());
}

void dot_i8_checked(nb::handle vectors_, nb::handle query_, nb::handle out_) {
  Array vectors(vectors_, "vectors", 'b', {any, any});
  Array query(query_, "query", 'b', {vectors.size(1)});
  if (vectors.size(1) > 65536) refuse("vectors are longer than 65536: their product may not fit 32 bits");
  Array out(out_, "out", 'i', {vectors.size(0)}, true);
  nb::gil_scoped_release nogil;
  dot_i8(vectors.data<const int8_t>(), vectors.size(0), vectors.size(1), query.data<const int8_t>(), out.data<int32_t>());
}

double probe_read_checked(nb::handle data_) {
  Array data(data_, "data", 'B', {any});
  nb::gil_scoped_release nogil;
  return probe_read(data.data<const uint8_t>(), data.bytes());
}

std::pair<int64_t, double> probe_products_checked(const std::string& kind, int64_t rounds) {
  if (kind != "int8" && kind != "bf16" && kind != "f32") refuse("kind is '" + kind + "', not 'int8', 'bf16' or 'f32'");
  if (rounds < 1) refuse("rounds is " + std::to_string(rounds) + ", not at least 1");
  nb::gil_scoped_release nogil;
  const Products found = probe_products(kind, rounds);
  return {found.operations, found.seconds};
}

}  // namespace
}  // namespace ownlm

NB_MODULE(_kernels, m) {
  using namespace ownlm;
  m.def("usable", [] {
    std::vector<std::string> names;
    for (const Kernels* k : usable_kernels()) names.emplace_back(k->name);
    return names;
  });
  m.def("isa", [] { return std::string(kernels()->name); });
  m.def("use_isa", [](const std::string& name) { return use_kernels(name); }, "name"_a);
  m.def("built", [] { return std::string(OWNLM_BUILT); });
  m.def("threads", &pool::threads);
  m.def("set_threads", [](int n) {
    if (n < 1) refuse("threads is " + std::to_string(n) + ", not at least 1");
    nb::gil_scoped_release nogil;
    pool::set_threads(n);
  }, "n"_a);
  m.def("empty", &empty, "rows"_a, "columns"_a);
  m.def("embed", &embed_checked, "ids"_a, "tables"_a, "out"_a);
  m.def("layer_norm", &layer_norm_checked, "x"_a, "weight"_a, "bias"_a, "eps"_a, "residual"_a.none(), "out"_a);
  m.def("attention_varlen", &attention_checked, "qkv"_a, "cu_seqlens"_a, "heads"_a, "scale"_a, "out"_a);
  m.def("mean_pool", &mean_pool_checked, "x"_a, "cu_seqlens"_a, "normalize"_a, "out"_a);
  m.def("dot_i8", &dot_i8_checked, "vectors"_a, "query"_a, "out"_a);
  m.def("probe_read", &probe_read_checked, "data"_a);
  m.def("probe_products", &probe_products_checked, "kind"_a, "rounds"_a);
  bind_linear(m);
  bind_plan(m);
}
