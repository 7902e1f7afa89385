#include "bind.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "recorder.h"
#include "select.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ownlm {
namespace {

constexpr int64_t any = Array::any;

KVCache* new_cache(KVCache* at, int64_t layers, int64_t blocks, int64_t block_size, int64_t heads, int64_t head_dim, const std::string& name) {
  KvFormat format;
  if (name == "bf16") format = KvFormat::bf16;
  else if (name == "f32") format = KvFormat::f32;
  else if (name == "int8") format = KvFormat::int8;
  else if (name == "int4") format = KvFormat::int4;
  else refuse("format is \"" + name + "\", not one of bf16, f32, int8, int4");
  if (head_dim > 1024) refuse("head_dim is " + std::to_string(head_dim) + ", above 1024");
  if (layers < 1 || blocks < 1 || heads < 1 || head_dim < 2 || head_dim % 2) refuse("a cache needs layers, blocks, heads and an even head_dim");
  if (block_size < kPage || block_size % kPage) refuse("block_size is " + std::to_string(block_size) + ", not a multiple of 16");
  if (blocks * block_size > INT32_MAX) refuse("a cache of more than 2^31 tokens cannot be addressed");
  return new (at) KVCache(layers, blocks, block_size, heads, head_dim, format);
}

const int32_t* blocks_within(const KVCache& cache, const Array& ids, int64_t count) {
  const int32_t* p = ids.data<const int32_t>();
  for (int64_t i = 0; i < count; ++i)
    if (p[i] < 0 || p[i] >= cache.blocks) refuse("block " + std::to_string(p[i]) + " is outside the cache");
  return p;
}

void copy_blocks(KVCache& cache, nb::handle pairs_) {
  Array pairs(pairs_, "pairs", 'i', {any, 2});
  const int32_t* p = blocks_within(cache, pairs, 2 * pairs.size(0));
  nb::gil_scoped_release nogil;
  for (int64_t i = 0; i < pairs.size(0); ++i) cache.copy_block(p[2 * i], p[2 * i + 1]);
}

nb::object read_blocks(const KVCache& cache, nb::handle ids_) {
  Array ids(ids_, "blocks", 'i', {any});
  const int32_t* p = blocks_within(cache, ids, ids.size(0));
  nb::object found = nb::module_::import_("numpy").attr("empty")(nb::make_tuple(ids.size(0), cache.block_bytes()), "uint8");
  Array out(found, "out", 'B', {ids.size(0), cache.block_bytes()}, true);
  {
    nb::gil_scoped_release nogil;
    cache.read(p, ids.size(0), out.data<uint8_t>());
  }
  return found;
}

void write_blocks(KVCache& cache, nb::handle ids_, nb::handle data_) {
  Array ids(ids_, "blocks", 'i', {any});
  const int32_t* p = blocks_within(cache, ids, ids.size(0));
  Array data(data_, "data", 'B', {ids.size(0), cache.block_bytes()});
  nb::gil_scoped_release nogil;
  cache.write(p, ids.size(0), data.data<const uint8_t>());
}

void argmax_checked(nb::handle logits_, nb::handle out_) {
  Array logits(logits_, "logits", 'f', {any, any});
  Array out(out_, "out", 'i', {logits.size(0)}, true);
  if (logits.size(1) < 1) refuse("logits have no columns");
  nb::gil_scoped_release nogil;
  argmax(logits.data<const float>(), logits.size(0), logits.size(1), out.data<int32_t>());
}

void log_sum_exp_checked(nb::handle logits_, float scale, nb::handle out_) {
  Array logits(logits_, "logits", 'f', {any, any});
  Array out(out_, "out", 'd', {logits.size(0)}, true);
  if (logits.size(1) < 1) refuse("logits have no columns");
  if (!(scale > 0)) refuse("scale must be above 0");
  nb::gil_scoped_release nogil;
  log_sum_exp(logits.data<const float>(), logits.size(0), logits.size(1), scale, out.data<double>());
}

void top_k_checked(nb::handle logits_, nb::handle ids_, nb::handle values_) {
  Array logits(logits_, "logits", 'f', {any, any});
  Array ids(ids_, "ids", 'i', {logits.size(0), any}, true);
  Array values(values_, "values", 'f', {logits.size(0), ids.size(1)}, true);
  const int64_t k = ids.size(1);
  if (k < 1 || k > logits.size(1)) refuse("k is " + std::to_string(k) + ", not within 1 to " + std::to_string(logits.size(1)));
  nb::gil_scoped_release nogil;
  top_k(logits.data<const float>(), logits.size(0), logits.size(1), k, ids.data<int32_t>(), values.data<float>());
}

}  // namespace

void bind_plan(nb::module_& m) {
  nb::class_<KVCache>(m, "KVCache", "Keys and values of all layers, in blocks.")
      .def("__init__", &new_cache, "layers"_a, "blocks"_a, "block_size"_a, "heads"_a, "head_dim"_a, "format"_a)
      .def_ro("layers", &KVCache::layers)
      .def_ro("blocks", &KVCache::blocks)
      .def_ro("block_size", &KVCache::block_size)
      .def_prop_ro("nbytes", &KVCache::bytes)
      .def_prop_ro("block_bytes", &KVCache::block_bytes)
      .def("copy_blocks", &copy_blocks, "pairs"_a)
      .def("read_blocks", &read_blocks, "blocks"_a)
      .def("write_blocks", &write_blocks, "blocks"_a, "data"_a);
  nb::class_<Recorder>(m, "Plan", "A forward, recorded once and replayed per batch.")
      .def(nb::init<>())
      .def("embed", &Recorder::embed, "tables"_a, "width"_a, "scale"_a)
      .def("norm", &Recorder::norm, "x"_a, "weight"_a, "bias"_a.none(), "eps"_a, "offset"_a, "residual"_a)
      .def("linear", &Recorder::linear, "x"_a, "w"_a, "bias"_a.none(), "residual"_a, "residual_scale"_a, "activation"_a)
      .def("glu_linear", &Recorder::glu_linear, "x"_a, "w"_a, "bias"_a.none(), "activation"_a)
      .def("qkv_rope", &Recorder::qkv_rope, "x"_a, "w"_a, "bias"_a.none(), "spec"_a)
      .def("cached_attention", &Recorder::attention, "q"_a, "spec"_a)
      .def("moe", &Recorder::moe, "x"_a, "weights"_a, "residual"_a)
      .def("logits", &Recorder::logits, "x"_a, "w"_a, "bias"_a.none(), "scale"_a, "softcap"_a)
      .def("rescored_logits", &Recorder::rescored_logits, "x"_a, "head"_a, "bias"_a.none(), "scale"_a, "softcap"_a)
      .def("run", &Recorder::run, "batch"_a, "out"_a)
      .def("measure", &Recorder::measure, "on"_a)
      .def("seconds", &Recorder::seconds)
      .def("arena_bytes", &Recorder::arena_bytes, "tokens"_a, "wanted"_a)
      .def_prop_ro("steps", &Recorder::steps)
      .def_prop_ro("columns", &Recorder::columns);
  m.def("argmax", &argmax_checked, "logits"_a, "out"_a);
  m.def("log_sum_exp", &log_sum_exp_checked, "logits"_a, "scale"_a, "out"_a);
  m.def("top_k", &top_k_checked, "logits"_a, "ids"_a, "values"_a);
}

}  // namespace ownlm
