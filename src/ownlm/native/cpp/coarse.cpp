#include "coarse.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "plan/lookup.h"
#include "pool.h"

namespace ownlm {
namespace {

constexpr int64_t kParts = 64;  // whose sums are added in order: the same whatever the number of threads

uint16_t float_to_half(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const float size = std::fabs(x);
  if (!(size < 65520.0f)) return static_cast<uint16_t>(sign | 0x7bffu);  // the largest: a scale is never infinite
  if (size < 6.103515625e-05f) return static_cast<uint16_t>(sign | static_cast<uint16_t>(size * 16777216.0f + 0.5f));
  bits &= 0x7fffffffu;
  bits += 0xfffu + (bits >> 13 & 1u);
  return static_cast<uint16_t>(sign | static_cast<uint16_t>((bits - 0x38000000u) >> 13));
}

constexpr int kLanes = 8;  // sums are kept in so many parts that the compiler can add side by side

float code(float x, float inverse) { return static_cast<float>(static_cast<int>(std::min(15.49f, x * inverse + 8.5f))) - 8.0f; }

float total(const float* lanes) {
  float sum = 0.0f;
  for (int j = 0; j < kLanes; ++j) sum += lanes[j];
  return sum;
}

// A block of 32: codes by the scale that puts the largest at -8, then by the scale that fits these codes best.
void round_block(const float* x, uint8_t* block, float* errors) {
  float high[kLanes] = {}, low[kLanes] = {}, product[kLanes] = {}, square[kLanes] = {};
  for (int i = 0; i < kGroup; i += kLanes)
    for (int j = 0; j < kLanes; ++j) {
      high[j] = std::max(high[j], x[i + j]);
      low[j] = std::min(low[j], x[i + j]);
    }
  const float most = *std::max_element(high, high + kLanes), least = *std::min_element(low, low + kLanes);
  float scale = (most > -least ? most : least) / -8.0f;
  const float first = scale != 0.0f ? 1.0f / scale : 0.0f;
  for (int i = 0; i < kGroup; i += kLanes)
    for (int j = 0; j < kLanes; ++j) {
      const float q = code(x[i + j], first);
      product[j] += x[i + j] * q;
      square[j] += q * q;
    }
  if (total(square) > 0.0f) scale = total(product) / total(square);
  const uint16_t half = float_to_half(scale);
  scale = half_to_float(half);
  const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
  float codes[kGroup];
  for (int i = 0; i < kGroup; ++i) {
    codes[i] = code(std::max(-8.0f, std::min(8.0f, x[i] * inverse)), 1.0f);
    const float error = x[i] - scale * codes[i];
    errors[i] += error * error;
  }
  block[0] = static_cast<uint8_t>(half & 255);
  block[1] = static_cast<uint8_t>(half >> 8);
  for (int i = 0; i < kGroup / 2; ++i)
    block[2 + i] = static_cast<uint8_t>((static_cast<int>(codes[i]) + 8) | (static_cast<int>(codes[i + 16]) + 8) << 4);
}

Lookup::Format lookup_format(Format f) {
  return f == Format::f32 ? Lookup::Format::f32 : f == Format::bf16 ? Lookup::Format::bf16 : Lookup::Format::q8_0;
}

}  // namespace

Coarse coarse(Format stored, const uint8_t* rows, int64_t n, int64_t k) {
  const int64_t row_bytes = k / kGroup * kQ4BlockBytes, groups = k / kGroup;
  Packed w{Format::q4_0, n, k, nullptr, nullptr};
  const int64_t count = panels(w), each = panel_bytes(Format::q4_0, k), parts = std::max<int64_t>(1, std::min(count, kParts));
  const size_t bytes = static_cast<size_t>(count * each), scale_bytes = static_cast<size_t>(count * groups * kPanel) * 2;
  Coarse to{{w, allocate_raw(bytes), allocate_raw(scale_bytes), bytes + scale_bytes}, std::vector<float>(static_cast<size_t>(k))};
  uint8_t* data = to.weight.data.get();
  uint16_t* scales = reinterpret_cast<uint16_t*>(to.weight.scales.get());
  to.weight.packed.data = data;
  to.weight.packed.scales = scales;
  std::vector<float> errors(static_cast<size_t>(parts * k));
  const Lookup table{Source::ids, lookup_format(stored), rows, n};
  const size_t scratch = static_cast<size_t>(k) * sizeof(float) + static_cast<size_t>(kPanel * row_bytes);
  pool::run(parts, scratch, parts > 1, [&](int64_t part, int, void* own) {
    float* x = static_cast<float*>(own);
    uint8_t* blocks = reinterpret_cast<uint8_t*>(x + k);
    float* sums = errors.data() + part * k;
    for (int64_t p = part * count / parts; p < (part + 1) * count / parts; ++p) {
      PanelRows r{};
      for (int64_t c = 0; c < kPanel && p * kPanel + c < n; ++c) {
        uint8_t* at = blocks + c * row_bytes;
        read_row(table, p * kPanel + c, k, [x](int64_t i, float v) { x[i] = v; });
        for (int64_t g = 0; g < groups; ++g) round_block(x + g * kGroup, at + g * kQ4BlockBytes, sums + g * kGroup);
        r.row[c] = at;
      }
      pack_panel(Format::q4_0, r, k, data + p * each, scales + p * groups * kPanel);
    }
  });
  for (int64_t i = 0; i < k; ++i) {
    double sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += static_cast<double>(errors[static_cast<size_t>(part * k + i)]);
    to.spread[static_cast<size_t>(i)] = n ? static_cast<float>(std::sqrt(sum / static_cast<double>(n))) : 0.0f;
  }
  return to;
}

}  // namespace ownlm
