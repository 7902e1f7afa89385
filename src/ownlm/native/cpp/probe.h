// What this machine can do at most, measured: the limits that kernels are held against.
#pragma once
#include <cstdint>
#include <string>

namespace ownlm {

struct Products {
  int64_t operations;  // a multiplication and an addition are two; 0: the instruction set in use has no such instruction
  double seconds;
};

// Seconds in which all threads together read `bytes` once. A buffer that no cache holds gives the memory's bandwidth.
double probe_read(const uint8_t* data, int64_t bytes);

// All threads multiply registers, without touching memory: kind "int8" (the dot products of the instruction set in use),
// "bf16" (pairs of bfloat16) or "f32" (fused multiply-adds). `rounds` times as many as take a thread about 10 us.
Products probe_products(const std::string& kind, int64_t rounds);

}  // namespace ownlm
