// One token's key and value on their way into a page (isa/paged_float.h and paged_int.h say how it is laid out).
#include <cstring>
#include <limits>

#include "cache.h"

namespace ownlm {
namespace {

uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);  // a NaN stays one
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

constexpr uint16_t kNaN = 0x7fc0;

// The scale by which `count` floats become numbers of at most `most`, as a bfloat16 that is not below it; its inverse. Where
// there is no such scale (a NaN, an infinity) it is a NaN, and the numbers nothing.
uint16_t scale_of(const float* x, int64_t count, float most, float* inverse) {
  float size = 0;
  bool sound = true;
  for (int64_t i = 0; i < count; ++i) {
    const float a = x[i] < 0 ? -x[i] : x[i];
    sound &= a <= std::numeric_limits<float>::max();
    size = a > size ? a : size;
  }
  *inverse = 0;
  if (!sound) return kNaN;
  size /= most;
  if (size < 1e-36f) return 0;  // whose inverse would be none
  uint32_t bits;
  std::memcpy(&bits, &size, 4);
  const uint16_t scale = static_cast<uint16_t>((bits + 0xffffu) >> 16);
  bits = static_cast<uint32_t>(scale) << 16;
  std::memcpy(&size, &bits, 4);
  *inverse = 1 / size;
  return scale;
}

// To the nearest whole number, for |x| < 2^22. A NaN, whose scale says it all, becomes a number.
int32_t nearest(float x) {
  const float shifted = x + 12582912.0f;
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  return bits - 0x4b400000;
}
uint8_t within(int32_t x, int32_t least, int32_t most) { return static_cast<uint8_t>(x < least ? least : x > most ? most : x); }

}  // namespace

void KVCache::store(int64_t layer, int64_t slot, int64_t head, const float* key, const float* value, bool last) {
  const int64_t at = slot % kPage;
  const Place page = place(layer, slot / block_size, head, slot % block_size / kPage);
  switch (format) {
    case KvFormat::f32: return store_float(page, at, key, value, last);
    case KvFormat::bf16: return store_bf16(page, at, key, value, last);
    default: return store_int(page, at, key, value, last);
  }
}

void KVCache::store_float(Place page, int64_t at, const float* key, const float* value, bool last) {
  float* k = reinterpret_cast<float*>(page.keys) + at;
  for (int64_t i = 0; i < head_dim; ++i) k[i * kPage] = key[i];
  float* v = reinterpret_cast<float*>(page.values);
  for (int64_t i = 0; i < padded(head_dim); i += kPanel) {
    float* to = v + i * kPage + at * kPanel;
    for (int64_t j = 0; j < kPanel; ++j) to[j] = i + j < head_dim ? value[i + j] : 0.0f;
    if (last) std::memset(to + kPanel, 0, static_cast<size_t>(kPage - 1 - at) * kPanel * sizeof(float));
  }
}

void KVCache::store_bf16(Place page, int64_t at, const float* key, const float* value, bool last) {
  uint16_t* k = reinterpret_cast<uint16_t*>(page.keys) + at * 2;
  for (int64_t i = 0; i < head_dim; ++i) k[i / 2 * kPage * 2 + i % 2] = to_bf16(key[i]);
  uint16_t* v = reinterpret_cast<uint16_t*>(page.values);
  for (int64_t i = 0; i < padded(head_dim); i += kPanel) {
    uint16_t* to = v + i * kPage + at / 2 * (2 * kPanel) + at % 2;
    for (int64_t j = 0; j < kPanel; ++j) to[2 * j] = i + j < head_dim ? to_bf16(value[i + j]) : uint16_t{0};
    if (!last) continue;
    if (at % 2 == 0)
      for (int64_t j = 0; j < kPanel; ++j) to[2 * j + 1] = 0;
    uint16_t* rest = v + i * kPage + (at / 2 + 1) * (2 * kPanel);
    std::memset(rest, 0, static_cast<size_t>(kPage / 2 - 1 - at / 2) * 2 * kPanel * sizeof(uint16_t));
  }
}

// No byte holds something of two tokens, which two threads may be writing.
void KVCache::store_int(Place page, int64_t at, const float* key, const float* value, bool last) {
  const bool eight = format == KvFormat::int8;
  const float most = eight ? 127.0f : 7.5f;
  float by_key, by_value;
  uint16_t* scales = reinterpret_cast<uint16_t*>(page.keys);
  scales[at] = scale_of(key, head_dim, most, &by_key);
  scales[kPage + at] = scale_of(value, head_dim, most, &by_value);
  if (last) {  // where a NaN may stand that is read with weight 0
    std::memset(scales + at + 1, 0, static_cast<size_t>(kPage - 1 - at) * sizeof(uint16_t));
    std::memset(scales + kPage + at + 1, 0, static_cast<size_t>(kPage - 1 - at) * sizeof(uint16_t));
  }
  uint8_t* k = page.keys + 4 * kPage + at * 4;
  uint8_t* v = page.values + at / 4 * (4 * kPanel) + at % 4;
  if (eight) {
    for (int64_t i = 0; i < head_dim; ++i) k[i / 4 * (4 * kPage) + i % 4] = within(nearest(key[i] * by_key) + 128, 1, 255);
    for (int64_t i = 0; i < padded(head_dim); ++i)
      v[i / kPanel * (kPage * kPanel) + i % kPanel * 4] = i < head_dim ? within(nearest(value[i] * by_value), -127, 127) : uint8_t{0};
    return;
  }
  // a number n stands for (n - 7.5) * scale; adding 7.5 and rounding would round halves to even numbers, not to the nearest
  const auto four = [](const float* x, int64_t i, int64_t end, float by) -> int {
    if (i >= end) return 0;
    return by > 0 ? within(static_cast<int32_t>(x[i] * by + 8.0f), 0, 15) : 8;
  };
  for (int64_t i = 0; i < head_dim; i += 8)
    for (int64_t j = i; j < i + 4; ++j)
      k[i / 8 * (4 * kPage) + j % 4] = static_cast<uint8_t>(four(key, j, head_dim, by_key) | four(key, j + 4, head_dim, by_key) << 4);
  for (int64_t i = 0; i < head_dim; i += 2 * kPanel)
    for (int64_t j = i; j < i + kPanel; ++j)
      v[i / (2 * kPanel) * (kPage * kPanel) + j % kPanel * 4] =
          static_cast<uint8_t>(four(value, j, head_dim, by_value) | four(value, j + kPanel, head_dim, by_value) << 4);
}

}  // namespace ownlm
