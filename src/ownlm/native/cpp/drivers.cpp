#include "drivers.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "cpu.h"
#include "pool.h"

namespace ownlm {
namespace {

// Handing work to another thread costs some microseconds: less work than this many bytes or multiply-adds stays here.
constexpr int64_t kSmallBytes = 64 << 10;
constexpr int64_t kSmallProducts = 256 << 10;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
size_t aligned(size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

// Whose activations a worker's scratch holds.
struct Held {
  uint64_t call;
  int64_t row0;
};

// Rows in chunks of about kSmallBytes each.
template <class F>
void over_rows(int64_t rows, int64_t row_bytes, F body) {
  const int64_t chunk = std::max<int64_t>(1, kSmallBytes / std::max<int64_t>(1, row_bytes));
  pool::run(ceil_div(rows, chunk), 0, true,
            [&](int64_t i, int, void*) { body(i * chunk, std::min(rows, (i + 1) * chunk)); });
}

}  // namespace

void Free::operator()(uint8_t* p) const { ::operator delete(p, std::align_val_t{kAlign}); }

Buffer allocate(size_t bytes) {
  Buffer b(static_cast<uint8_t*>(::operator new(std::max<size_t>(bytes, 1), std::align_val_t{kAlign})));
  std::memset(b.get(), 0, bytes);
  return b;
}

Weight pack_f32(const float* w, int64_t n, int64_t k) {
  const size_t bytes = static_cast<size_t>(padded(n) * k) * sizeof(float);
  Weight to{{}, allocate(bytes), nullptr, bytes};
  float* out = reinterpret_cast<float*>(to.data.get());
  for (int64_t row = 0; row < n; ++row) {
    float* column = out + row / kPanel * kPanel * k + row % kPanel;
    for (int64_t i = 0; i < k; ++i) column[i * kPanel] = w[row * k + i];
  }
  to.packed = {Format::f32, n, k, to.data.get(), nullptr};
  return to;
}

Weight pack_q8_0(const uint8_t* blocks, int64_t n, int64_t k) {
  const int64_t groups = k / kGroup;
  const size_t bytes = static_cast<size_t>(padded(n) * k), scale_bytes = static_cast<size_t>(padded(n) * groups) * sizeof(uint16_t);
  Weight to{{}, allocate(bytes), allocate(scale_bytes), bytes + scale_bytes};
  uint16_t* scales = reinterpret_cast<uint16_t*>(to.scales.get());
  std::memset(to.data.get(), 128, bytes);
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t g = 0; g < groups; ++g, blocks += kBlockBytes) {
      const int64_t block = row / kPanel * groups + g, column = row % kPanel;
      scales[block * kPanel + column] = static_cast<uint16_t>(blocks[0] | blocks[1] << 8);
      uint8_t* q = to.data.get() + block * kGroup * kPanel + column * 4;
      for (int i = 0; i < kGroup; ++i) q[i / 4 * 64 + i % 4] = blocks[2 + i] ^ 0x80;
    }
  }
  to.packed = {Format::q8_0, n, k, to.data.get(), scales};
  return to;
}

// A task is a block of rows by a range of panels. Where rows are few, columns are shared out as well, and each task quantizes
// its rows itself: cheaper than a barrier. No row's arithmetic depends on how the work is cut.
void linear(const Linear& l, const float* x, int64_t rows) {
  const int64_t n = l.w.n, k = l.w.k, groups = k / kGroup, panels = padded(n) / kPanel;
  if (rows == 0 || n == 0) return;
  const Kernels* kernel = kernels();
  const int64_t wanted = 4 * pool::threads();
  const int64_t row_tasks = ceil_div(rows, kRowBlock);
  const int64_t block = std::min<int64_t>(kRowBlock, ceil_div(ceil_div(rows, row_tasks), 12) * 12);
  const int64_t column_tasks = std::min(ceil_div(panels, 2), ceil_div(wanted, row_tasks));
  const int64_t span = ceil_div(ceil_div(panels, column_tasks), 2) * 2;  // panels of a task, even: tiles take two
  const int64_t across = ceil_div(panels, span), down = ceil_div(rows, block);
  const bool quantized = l.w.format == Format::q8_0;
  const size_t q_bytes = aligned(static_cast<size_t>(block * k)), group_bytes = aligned(static_cast<size_t>(block * groups) * 4);
  static std::atomic<uint64_t> calls{0};
  const uint64_t call = ++calls;
  pool::run(down * across, quantized ? kAlign + q_bytes + 2 * group_bytes : 0, rows * n * k >= kSmallProducts,
            [&](int64_t i, int, void* scratch) {
              const int64_t row0 = i / across * block, count = std::min(block, rows - row0);
              const int64_t panel0 = i % across * span, panel1 = std::min(panels, panel0 + span);
              if (!quantized) return kernel->linear_f32(l, x + row0 * k, row0, count, panel0, panel1);
              Held* held = static_cast<Held*>(scratch);
              uint8_t* at = static_cast<uint8_t*>(scratch) + kAlign;
              const Quantized q{reinterpret_cast<int8_t*>(at), reinterpret_cast<float*>(at + q_bytes),
                                reinterpret_cast<int32_t*>(at + q_bytes + group_bytes)};
              if (held->call != call || held->row0 != row0) kernel->quantize(x + row0 * k, count, k, q);
              *held = {call, row0};
              kernel->linear_q8_0(l, q, row0, count, panel0, panel1);
            });
}

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
