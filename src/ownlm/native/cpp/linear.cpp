// Cuts a linear layer into tasks.
#include <algorithm>

#include "arena.h"
#include "cpu.h"
#include "drivers.h"
#include "pool.h"

namespace ownlm {
namespace {

constexpr int64_t kSmallProducts = 256 << 10;  // fewer multiply-adds stay in the calling thread, which wakes no other
constexpr int64_t kConvertBytes = 64 << 10;    // floats that a task converts
constexpr int64_t kWeightBytes = 256 << 10;    // packed weights of a task that reads them once, from memory: each begins unforeseen ...
constexpr int64_t kSharedBytes = 128 << 10;    // ... and of one that keeps them in its cache, beside
constexpr int64_t kRowBytes = 256 << 10;       // so many bytes of activations

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t panel_bytes(const Packed& w) { return std::max<int64_t>(1, panel_bytes(w.format, w.k) + panel_scale_bytes(w.format, w.k)); }

void task_of(const Kernels* kernel, const Linear& l, const Activations& x, const LinearCut& cut, int64_t task) {
  const int64_t row0 = task % cut.row_blocks * cut.row_block, panel0 = task / cut.row_blocks * cut.panels;
  kernel->linear(l, x, row0, std::min(cut.row_block, cut.rows - row0), panel0, std::min(panels(l.w), panel0 + cut.panels));
}

}  // namespace

LinearCut cut_linear(const Packed& w, int64_t rows, int threads) {
  const int64_t all = panels(w);
  if (rows == 0 || all == 0) return {rows, 1, 0, 2, 0};
  const int64_t most = std::max<int64_t>(kMostTileRows, kRowBytes / activation_bytes(w.format, std::max<int64_t>(1, w.k)));
  const int64_t blocks = ceil_div(rows, most);
  const int64_t block = blocks == 1 ? rows : ceil_div(ceil_div(rows, blocks), kMostTileRows) * kMostTileRows;
  const int64_t down = ceil_div(rows, block);
  // Weights to fill a task, but tasks enough for every thread to have several: the last one is waited for.
  const int64_t wanted = (down > 1 ? kSharedBytes : kWeightBytes) / panel_bytes(w), several = down > 1 ? 4 : 2;
  const int64_t span = std::min(wanted, all * down / (several * threads)) / 2 * 2;
  const int64_t width = std::max<int64_t>(2, span);
  return {rows, block, down, width, ceil_div(all, width) * down};
}

void linear_task(const Linear& l, const Activations& x, const LinearCut& cut, int64_t task) { task_of(kernels(), l, x, cut, task); }

void linear(const Linear& l, const float* x, int64_t rows) {
  if (l.w.next) {
    Linear first = l, rest = l;
    first.stride = rest.stride = l.stride ? l.stride : all_rows(l.w);
    first.w.next = nullptr;
    rest.w = *l.w.next;
    rest.out += l.w.n;
    if (l.bias) rest.bias += l.w.n;
    if (l.residual) rest.residual += l.w.n;
    linear(first, x, rows);
    return linear(rest, x, rows);
  }
  const int64_t k = l.w.k, stride = activation_bytes(l.w.format, k);
  const LinearCut cut = cut_linear(l.w, rows, pool::threads());
  if (cut.count == 0) return;
  const Kernels* kernel = kernels();
  const bool parallel = rows * l.w.n * k >= kSmallProducts;
  if (l.w.format == Format::f32) {
    const Activations a{reinterpret_cast<const uint8_t*>(x), 4 * k};
    pool::run(cut.count, 0, parallel, [&](int64_t i, int, void*) { task_of(kernel, l, a, cut, i); });
    return;
  }
  const size_t bytes = static_cast<size_t>(rows * stride);
  struct Held {
    void* data;
    size_t bytes;
    ~Held() { arena::give_back(data, bytes); }
  } held{arena::take(bytes), bytes};
  uint8_t* converted = static_cast<uint8_t*>(held.data);
  const int64_t share = std::max<int64_t>(1, kConvertBytes / std::max<int64_t>(1, 4 * k));
  pool::run(ceil_div(rows, share), 0, rows > 2 * share, [&](int64_t i, int, void*) {
    const int64_t row0 = i * share;
    kernel->convert(l.w.format, x + row0 * k, k, std::min(share, rows - row0), k, converted + row0 * stride);
  });
  const Activations a{converted, stride};
  pool::run(cut.count, 0, parallel, [&](int64_t i, int, void*) { task_of(kernel, l, a, cut, i); });
}

}  // namespace ownlm
