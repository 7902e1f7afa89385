// A table's rows as numbers. For translation units that are compiled for every processor, never in isa/.
#pragma once
#include <cstring>

#include "../k_blocks.h"
#include "steps.h"

namespace ownlm {

inline float half_to_float(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  uint32_t bits = static_cast<uint32_t>(h & 0x8000u) << 16;
  float x;
  if (exponent == 0) {
    x = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return bits ? -x : x;
  }
  bits |= exponent == 31 ? 0x7f800000u | static_cast<uint32_t>(fraction) << 13
                         : static_cast<uint32_t>(exponent + 112) << 23 | static_cast<uint32_t>(fraction) << 13;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline uint16_t read_16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

template <class Put>
void read_k_row(Format format, const uint8_t* table, int64_t id, int64_t width, Put put) {
  const int64_t bytes = stored_row_bytes(format, kSuper);
  const uint8_t* at = table + id * (width / kSuper) * bytes;
  for (int64_t i = 0; i < width; i += kSuper, at += bytes) {
    const KBlock block = read_k_block(format, at);
    const float d = half_to_float(block.d), minimum = half_to_float(block.minimum);
    for (int j = 0; j < kSuper; ++j) {
      const float q = static_cast<float>(block.q[j]);
      if (format == Format::q6_k) put(i + j, d * static_cast<float>(block.s[j / 16]) * (q - 32.0f));
      else put(i + j, d * static_cast<float>(block.s[j / 32]) * q - minimum * static_cast<float>(block.m[j / 32]));
    }
  }
}

// put(i, x) for each x of a table's row.
template <class Put>
void read_row(const Lookup& t, int64_t id, int64_t width, Put put) {
  switch (t.format) {
    case Lookup::Format::f32: {
      const uint8_t* row = t.table + id * width * 4;
      for (int64_t i = 0; i < width; ++i) {
        float x;
        std::memcpy(&x, row + i * 4, 4);
        put(i, x);
      }
      return;
    }
    case Lookup::Format::bf16:
    case Lookup::Format::f16: {
      const uint8_t* row = t.table + id * width * 2;
      for (int64_t i = 0; i < width; ++i) {
        const uint16_t bits = read_16(row + i * 2);
        const uint32_t wide = static_cast<uint32_t>(bits) << 16;
        float x;
        std::memcpy(&x, &wide, 4);
        put(i, t.format == Lookup::Format::bf16 ? x : half_to_float(bits));
      }
      return;
    }
    case Lookup::Format::q8_0: {
      const uint8_t* block = t.table + id * (width / 32 * 34);
      for (int64_t i = 0; i < width; i += 32, block += 34) {
        const float d = half_to_float(read_16(block));
        for (int64_t j = 0; j < 32; ++j) put(i + j, d * static_cast<float>(static_cast<int8_t>(block[2 + j])));
      }
      return;
    }
    case Lookup::Format::q4_0: {
      const uint8_t* block = t.table + id * (width / 32 * 18);
      for (int64_t i = 0; i < width; i += 32, block += 18) {
        const float d = half_to_float(read_16(block));
        for (int64_t j = 0; j < 16; ++j) {
          put(i + j, d * static_cast<float>((block[2 + j] & 15) - 8));
          put(i + j + 16, d * static_cast<float>((block[2 + j] >> 4) - 8));
        }
      }
      return;
    }
    case Lookup::Format::q4_k: return read_k_row(Format::q4_k, t.table, id, width, put);
    case Lookup::Format::q5_k: return read_k_row(Format::q5_k, t.table, id, width, put);
    case Lookup::Format::q6_k: return read_k_row(Format::q6_k, t.table, id, width, put);
  }
}

}  // namespace ownlm
