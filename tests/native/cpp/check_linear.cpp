// Linear layers of every format against sums in double, in every instruction set that this processor has, without Python: for
// processors that are emulated (.ci/kernels). Prints a line a check; the exit status says whether all hold.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cpu.h"
#include "drivers.h"
#include "k_blocks.h"
#include "pool.h"

using namespace ownlm;

namespace {

std::mt19937 random_bits(7);
int failures = 0;

void expect(bool holds, const std::string& what, double error = 0) {
  failures += !holds;
  std::printf("%-60s %.1e %s\n", what.c_str(), error, holds ? "" : "FAILS");
}

float bf16(float x) {  // the nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  std::memcpy(&x, &bits, 4);
  return x;
}

std::vector<float> normal(int64_t count, float spread = 1.0f) {
  std::normal_distribution<float> draw(0.0f, spread);
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) v = draw(random_bits);
  return x;
}

// A matrix as a checkpoint stores it, and what its bytes say.
struct Matrix {
  std::vector<uint8_t> bytes;
  std::vector<double> values;

  Matrix(Format f, int64_t rows, int64_t k, float spread) : bytes(static_cast<size_t>(rows * stored_row_bytes(f, k))) {
    if (f == Format::f32 || f == Format::bf16) {
      for (float v : normal(rows * k, spread)) {
        if (f == Format::bf16) v = bf16(v);
        uint8_t* at = bytes.data() + values.size() * (f == Format::f32 ? 4 : 2);
        if (f == Format::f32) std::memcpy(at, &v, 4);
        else std::memcpy(at, reinterpret_cast<const uint8_t*>(&v) + 2, 2);
        values.push_back(static_cast<double>(v));
      }
      return;
    }
    if (is_k(f)) {
      k_blocks(f, spread);
      return;
    }
    const size_t size = f == Format::q8_0 ? kBlockBytes : kQ4BlockBytes;
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random_bits());
    for (size_t at = 0; at < bytes.size(); at += size) {
      // half precision: sign 0, exponent and fraction so that weights have about the spread
      const int exponent = static_cast<int>(std::lround(std::log2(spread / (f == Format::q8_0 ? 74.0f : 4.6f))));
      const uint16_t fraction = random_bits() & 1023, half = static_cast<uint16_t>((exponent + 15) << 10 | fraction);
      std::memcpy(bytes.data() + at, &half, 2);
      const double scale = std::ldexp(1.0 + fraction / 1024.0, exponent);
      const uint8_t* q = bytes.data() + at + 2;
      for (int i = 0; i < kGroup; ++i)
        values.push_back(scale * (f == Format::q8_0 ? static_cast<int8_t>(q[i]) : (i < 16 ? q[i] & 15 : q[i - 16] >> 4) - 8));
    }
  }

 private:
  // Any bytes but for the scales of blocks, which are powers of two that give weights about the spread.
  void k_blocks(Format f, float spread) {
    const int64_t size = stored_row_bytes(f, kSuper);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random_bits());
    const int exponent = std::max(-14, static_cast<int>(std::lround(std::log2(spread / (f == Format::q6_k ? 1300.0f : 256.0f)))));
    const uint16_t half = static_cast<uint16_t>((exponent + 15) << 10);
    for (uint8_t* at = bytes.data(); at < bytes.data() + bytes.size(); at += size) {
      for (int place : {f == Format::q6_k ? 208 : 0, f == Format::q6_k ? 208 : 2}) std::memcpy(at + place, &half, 2);
      const KBlock block = read_k_block(f, at);
      const double d = std::ldexp(1.0, exponent);
      for (int i = 0; i < kSuper; ++i)
        values.push_back(f == Format::q6_k ? d * block.s[i / 16] * (block.q[i] - 32) : d * (block.s[i / 32] * block.q[i] - block.m[i / 32]));
    }
  }
};

// What a format makes of inputs.
std::vector<double> rounded(const std::vector<float>& x, Format f) {
  std::vector<double> out(x.begin(), x.end());
  if (f == Format::bf16)
    for (size_t i = 0; i < x.size(); ++i) out[i] = static_cast<double>(bf16(x[i]));
  if (f == Format::f32 || f == Format::bf16) return out;
  for (size_t g = 0; g < x.size(); g += kGroup) {
    float peak = 0;
    for (size_t i = g; i < g + kGroup; ++i) peak = std::max(peak, std::fabs(x[i]));
    const float inverse = 127.0f / peak;
    for (size_t i = g; i < g + kGroup; ++i)
      out[i] = static_cast<double>(std::nearbyint(x[i] * inverse)) * static_cast<double>(peak / 127.0f);
  }
  return out;
}

double activated(Activation a, double x) {
  switch (a) {
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::relu2: return x > 0 ? x * x : 0;
    default: return x;
  }
}

double gated(Glu kind, double gate, double up) {
  switch (kind) {
    case Glu::silu: return activated(Activation::silu, gate) * up;
    case Glu::gelu: return activated(Activation::gelu, gate) * up;
    case Glu::gelu_tanh: return activated(Activation::gelu_tanh, gate) * up;
    default:
      gate = std::min(gate, 7.0);
      return gate / (1 + std::exp(-1.702 * gate)) * (std::max(-7.0, std::min(7.0, up)) + 1);
  }
}

const char* name_of(Format f) {
  constexpr const char* names[] = {"f32", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"};
  return names[static_cast<int>(f)];
}

// out of `rows` rows starting at row0 of x
std::vector<float> run(const Linear& like, const std::vector<float>& x, const std::vector<float>& residual, int64_t row0, int64_t rows) {
  Linear l = like;
  const int64_t n = outputs(l.w);
  std::vector<float> out(static_cast<size_t>(rows * n));
  l.out = out.data();
  l.residual = residual.data() + row0 * n;
  linear(l, x.data() + row0 * l.w.k, rows);
  return out;
}

// One weight in every instruction set: every row of a batch against double, then every part of the batch against the whole, to
// the last bit. Of 4 and 8 bits, where products are whole numbers, all sets that fuse a multiply and an add give the same bits.
void check(const std::vector<const Kernels*>& all, Format f, int64_t rows, int64_t n, int64_t k, bool glu, int kind) {
  const float spread = (glu ? 4.0f : 1.0f) / std::sqrt(static_cast<float>(k));  // gates beyond the clamps of gpt-oss
  const Matrix first(f, n, k, spread), second(f, glu ? n : 0, k, spread);
  const Weight w = glu ? pack_glu(f, {first.bytes.data(), n}, {second.bytes.data(), n}, k) : pack(f, {{first.bytes.data(), n}}, k);
  const std::vector<float> x = normal(rows * k), bias = normal(w.packed.n), residual = normal(rows * n);
  Linear l{w.packed, bias.data(), nullptr, nullptr};
  if (glu) l.glu = static_cast<Glu>(1 + kind % 4);
  else l.activation = static_cast<Activation>(kind);
  l.scale = 0.3f;
  const std::vector<double> a = rounded(x, f);
  std::vector<double> expected;
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t i = 0; i < n; ++i) {
      double sum = static_cast<double>(bias[static_cast<size_t>(i)]), up = glu ? static_cast<double>(bias[static_cast<size_t>(n + i)]) : 0;
      for (int64_t j = 0; j < k; ++j) {
        sum += a[static_cast<size_t>(m * k + j)] * first.values[static_cast<size_t>(i * k + j)];
        if (glu) up += a[static_cast<size_t>(m * k + j)] * second.values[static_cast<size_t>(i * k + j)];
      }
      const double residue = static_cast<double>(residual[static_cast<size_t>(m * n + i)]);
      expected.push_back(0.3 * (glu ? gated(l.glu, sum, up) : activated(l.activation, sum)) + residue);
    }
  std::vector<float> before;
  for (const Kernels* kernel : all) {
    use_kernels(kernel->name);
    const std::string what = std::string(kernel->name) + ": " + name_of(f) + (glu ? " gated " : " ") + std::to_string(rows) + " x " +
                             std::to_string(n) + " x " + std::to_string(k);
    const std::vector<float> found = run(l, x, residual, 0, rows);
    double worst = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      const double error = std::fabs(static_cast<double>(found[i]) - expected[i]) / (1 + std::fabs(expected[i]));
      worst = error <= worst ? worst : error;  // not a number stays
    }
    expect(worst < (glu ? 2e-5 : 4e-6), what, worst);
    bool same = true;
    for (int64_t row0 = 0; row0 < rows; row0 += 1 + row0 / 2) {
      const int64_t part = std::min<int64_t>(rows - row0, 1 + row0);
      const std::vector<float> alone = run(l, x, residual, row0, part);
      same = same && std::memcmp(alone.data(), found.data() + row0 * n, alone.size() * sizeof(float)) == 0;
    }
    if (!same) expect(false, what + ": a row depends on its batch");
    if (f == Format::f32 || f == Format::bf16 || kernel == portable_kernels()) continue;
    if (!before.empty() && std::memcmp(before.data(), found.data(), found.size() * sizeof(float)) != 0)
      expect(false, what + ": other bits than the instruction set before");
    before = found;
  }
}

}  // namespace

int main() {
  pool::set_threads(2);
  const std::vector<const Kernels*> all = usable_kernels();
  for (Format f : {Format::f32, Format::bf16, Format::q8_0, Format::q4_0, Format::q4_k, Format::q5_k, Format::q6_k}) {
    int kind = 0;
    const int64_t unit = is_k(f) ? kSuper : kGroup;
    for (int64_t rows = 1; rows <= 34; ++rows, kind = (kind + 1) % 5)  // every height of a tile, two tiles and three
      check(all, f, rows, 1 + 7 * rows % 50, unit * (1 + rows % (is_k(f) ? 2 : 5)), rows % 2 == 0, kind);
    for (int64_t rows = 1; rows <= 4; ++rows, kind = (kind + 1) % 5) check(all, f, rows, 33, is_k(f) ? 768 : 288, rows % 2 == 1, kind);
    if (f == Format::f32 || f == Format::bf16)
      for (int64_t width : {1, 7, 33}) check(all, f, 3, 18, width, false, 0);
    check(all, f, 133, 40, is_k(f) ? 256 : 64, false, 2);
    check(all, f, 77, 49, is_k(f) ? 512 : 544, true, 1);  // tiles of two heights, and more groups than are unpacked at a time
  }
  std::printf("%d failures, instruction sets:", failures);
  for (const Kernels* k : all) std::printf(" %s", k->name);
  std::printf("\n");
  return failures != 0;
}
