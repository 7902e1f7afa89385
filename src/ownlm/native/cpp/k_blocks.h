// Blocks of 256 weights as Q4_K, Q5_K and Q6_K files store them (GGML's layouts). For translation units that are compiled for every
// processor, never in isa/.
#pragma once
#include <cstring>

#include "kernels.h"

namespace ownlm {

// A weight is d s q - minimum m, by groups of 32; of Q6_K d s (q - 32), by groups of 16.
struct KBlock {
  uint16_t d, minimum;  // fp16
  int16_t s[16];
  uint8_t m[8], q[kSuper];
};

inline KBlock read_k_block(Format format, const uint8_t* p) {
  KBlock b{};
  if (format == Format::q6_k) {
    const uint8_t *low = p, *high = p + 128;
    for (int g = 0; g < 16; ++g) b.s[g] = static_cast<int8_t>(p[192 + g]);
    std::memcpy(&b.d, p + 208, 2);
    for (int half = 0; half < kSuper; half += 128, low += 64, high += 32)
      for (int i = 0; i < 128; ++i) {  // quarters: two of low nibbles, two of high ones
        const int nibble = i < 64 ? low[i] & 15 : low[i - 64] >> 4;
        b.q[half + i] = static_cast<uint8_t>(nibble | (high[i % 32] >> 2 * (i / 32) & 3) << 4);
      }
    return b;
  }
  std::memcpy(&b.d, p, 2);
  std::memcpy(&b.minimum, p + 2, 2);
  const uint8_t* packed = p + 4;  // 6 bits each: 4 scales, 4 minima, then nibbles of the others, whose upper bits are in the first
  for (int g = 0; g < 4; ++g) {
    b.s[g] = packed[g] & 63;
    b.m[g] = packed[g + 4] & 63;
    b.s[g + 4] = static_cast<int16_t>((packed[g + 8] & 15) | packed[g] >> 6 << 4);
    b.m[g + 4] = static_cast<uint8_t>(packed[g + 8] >> 4 | packed[g + 4] >> 6 << 4);
  }
  const uint8_t* fifth = p + 16;
  const uint8_t* low = fifth + (format == Format::q5_k ? 32 : 0);
  for (int i = 0; i < kSuper; ++i) {
    const int byte = low[i / 64 * 32 + i % 32];
    b.q[i] = static_cast<uint8_t>(i / 32 % 2 ? byte >> 4 : byte & 15);
    if (format == Format::q5_k) b.q[i] |= static_cast<uint8_t>((fifth[i % 32] >> i / 32 & 1) << 4);
  }
  return b;
}

}  // namespace ownlm
