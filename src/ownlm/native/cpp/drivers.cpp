#include "drivers.h"

#include <algorithm>
#include <cstring>

#include "cpu.h"
#include "pool.h"

namespace ownlm {
namespace {

// Handing work to another thread costs some microseconds: less work than this many bytes or multiply-adds stays here.
constexpr int64_t kSmallBytes = 64 << 10;
constexpr int64_t kSmallProducts = 256 << 10;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows in chunks of about kSmallBytes each.
template <class F>
void over_rows(int64_t rows, int64_t row_bytes, F body) {
  const int64_t chunk = std::max<int64_t>(1, kSmallBytes / std::max<int64_t>(1, row_bytes));
  pool::run(ceil_div(rows, chunk), 0, true,
            [&](int64_t i, int, void*) { body(i * chunk, std::min(rows, (i + 1) * chunk)); });
}

}  // namespace

void embed(const std::vector<Table>& tables, int64_t rows, int64_t width, float* out) {
  const Kernels* kernel = kernels();
  const int64_t groups = width / kGroup;
  over_rows(rows, width * 4, [&](int64_t row0, int64_t row1) {
    for (int64_t row = row0; row < row1; ++row) {
      float* to = out + row * width;
      bool first = true;
      for (const Table& t : tables) {
        const int64_t id = t.ids[row];
        if (t.blocks) kernel->dequantize(t.blocks + id * groups * kBlockBytes, groups, to, !first);
        else if (first) std::memcpy(to, t.floats + id * width, static_cast<size_t>(width) * sizeof(float));
        else kernel->add(t.floats + id * width, width, to);
        first = false;
      }
    }
  });
}

void layer_norm(const LayerNorm& l, int64_t rows) {
  const Kernels* kernel = kernels();
  over_rows(rows, l.width * 4, [&](int64_t row0, int64_t row1) { kernel->layer_norm(l, row0, row1); });
}

void attention(const float* qkv, const int32_t* starts, int64_t sequences, int64_t heads, int64_t head_dim, float scale, float* out) {
  const Kernels* kernel = kernels();
  const int64_t width = heads * head_dim;
  int64_t longest = 0, products = 0;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t length = starts[s + 1] - starts[s];
    longest = std::max(longest, length);
    products += length * length * width * 2;
  }
  if (longest == 0) return;
  // With few sequences, a head's queries are shared out too; each task lays out the keys again, so not below 4 tiles.
  const int64_t wanted = ceil_div(4 * pool::threads(), sequences * heads);
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, ceil_div(longest, 4 * kMaxTile)));
  const size_t bytes = static_cast<size_t>(attention_scratch(longest, head_dim)) * sizeof(float);
  pool::run(sequences * heads * parts, bytes, products >= kSmallProducts, [&](int64_t i, int, void* scratch) {
    const int64_t s = i / (heads * parts), head = i / parts % heads, part = i % parts;
    const int64_t start = starts[s], length = starts[s + 1] - start;
    const int64_t share = ceil_div(ceil_div(length, parts), kMaxTile) * kMaxTile;
    const int64_t q0 = std::min(length, part * share), q1 = std::min(length, q0 + share);
    if (q0 == q1) return;
    kernel->attention({qkv + start * 3 * width + head * head_dim, 3 * width, width, length, head_dim, q0, q1, scale,
                       out + start * width + head * head_dim, width, static_cast<float*>(scratch)});
  });
}

void mean_pool(const float* x, const int32_t* starts, int64_t sequences, int64_t width, bool normalize, float* out) {
  const Kernels* kernel = kernels();
  const int64_t bytes = sequences ? (starts[sequences] / sequences + 1) * width * 4 : 0;
  over_rows(sequences, bytes, [&](int64_t s0, int64_t s1) {
    for (int64_t s = s0; s < s1; ++s)
      kernel->mean_pool(x + starts[s] * width, starts[s + 1] - starts[s], width, normalize, out + s * width);
  });
}

void dot_i8(const int8_t* vectors, int64_t rows, int64_t width, const int8_t* query, int32_t* out) {
  const Kernels* kernel = kernels();
  over_rows(rows, width, [&](int64_t row0, int64_t row1) {
    kernel->dot_i8(vectors + row0 * width, row1 - row0, width, query, out + row0);
  });
}

}  // namespace ownlm
