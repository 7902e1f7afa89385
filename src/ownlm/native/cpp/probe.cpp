#include "probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "cpu.h"
#include "pool.h"

// One file for all instruction sets, each function compiled for its own: they are a few instructions in a loop.
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#include <immintrin.h>
#define OWNLM_PROBE_X86
#define OWNLM_TARGET(...) __attribute__((target(__VA_ARGS__), noinline))
#elif defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16)
#include <arm_neon.h>
#define OWNLM_PROBE_ARM
#define OWNLM_TARGET(...) __attribute__((target(__VA_ARGS__), noinline))
#endif

// Sums have to become registers, so loops over them are unrolled whole.
#if defined(__clang__)
#define OWNLM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define OWNLM_UNROLL _Pragma("GCC unroll 16")
#else
#define OWNLM_UNROLL
#endif

namespace ownlm {
namespace {

constexpr int kChains = 12;    // independent sums: more than an instruction's latency times what start in a cycle
constexpr int kSteps = 2048;   // instructions of each chain in a round
constexpr int64_t kChunk = 1 << 20;
std::atomic<int64_t> sink{0};  // where results go, so that no compiler leaves the work out

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

uint64_t read_plain(const uint8_t* p, int64_t bytes) {
  uint64_t total[8] = {};
  int64_t i = 0;
  for (; i + 64 <= bytes; i += 64) {
    uint64_t v[8];
    std::memcpy(v, p + i, 64);
    for (int j = 0; j < 8; ++j) total[j] += v[j];
  }
  uint64_t sum = 0;
  for (; i < bytes; ++i) sum += p[i];
  for (uint64_t t : total) sum += t;
  return sum;
}

int64_t f32_plain(int64_t rounds) {
  constexpr int lanes = kChains * 4;
  float sums[lanes], x[lanes];
  for (int i = 0; i < lanes; ++i) sums[i] = 1.0f, x[i] = 1.0f / static_cast<float>(i + 1);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < lanes; ++i)
#if defined(__aarch64__)
      sums[i] = __builtin_fmaf(sums[i], 0.5f, x[i]);
#else
      sums[i] = sums[i] * 0.5f + x[i];
#endif
  float total = 0;
  for (float s : sums) total += s;
  sink.fetch_add(static_cast<int64_t>(total), std::memory_order_relaxed);
  return rounds * kSteps * lanes * 2;
}

#if defined(OWNLM_PROBE_X86)

// As kernels of weights read: a vector at a time, with what comes 3 KB later asked for.
OWNLM_TARGET("avx512f") uint64_t read_avx512(const uint8_t* p, int64_t bytes) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
  for (int64_t i = 0; i + 256 <= bytes; i += 256) {
    for (int j = 0; j < 256; j += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i + j + 3072), _MM_HINT_T0);
    a = _mm512_add_epi64(a, _mm512_loadu_si512(p + i));
    b = _mm512_add_epi64(b, _mm512_loadu_si512(p + i + 64));
    c = _mm512_add_epi64(c, _mm512_loadu_si512(p + i + 128));
    d = _mm512_add_epi64(d, _mm512_loadu_si512(p + i + 192));
  }
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(_mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d)))) +
         read_plain(p + bytes / 256 * 256, bytes % 256);
}

OWNLM_TARGET("avx512f,avx512bw,avx512vl,avx512vnni") int64_t int8_avx512(int64_t rounds) {
  __m512i acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_epi32(i);
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(1);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
  int64_t total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += _mm512_reduce_add_epi32(acc[i]);
  sink.fetch_add(total, std::memory_order_relaxed);
  return rounds * kSteps * kChains * 64 * 2;
}

// dpbf16ps does not care what its operands hold; integer vectors spare the type that older compilers lack.
OWNLM_TARGET("avx512f,avx512bw,avx512vl,avx512bf16") int64_t bf16_avx512(int64_t rounds) {
  __m512 acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512bh a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80)), b = a;
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], a, b);
  float total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += _mm512_reduce_add_ps(acc[i]);
  sink.fetch_add(static_cast<int64_t>(total), std::memory_order_relaxed);
  return rounds * kSteps * kChains * 32 * 2;
}

OWNLM_TARGET("avx512f") int64_t f32_avx512(int64_t rounds) {
  __m512 acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 half = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1.0f);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm512_fmadd_ps(acc[i], half, b);
  float total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += _mm512_reduce_add_ps(acc[i]);
  sink.fetch_add(static_cast<int64_t>(total), std::memory_order_relaxed);
  return rounds * kSteps * kChains * 16 * 2;
}

OWNLM_TARGET("avx2") int32_t lanes_sum(__m256i v) {
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), v);
  int32_t total = 0;
  for (int32_t lane : lanes) total += lane;
  return total;
}

// Without VNNI: products of a pair of lanes, summed in 16 bits, as formats of four bits allow for a group.
OWNLM_TARGET("avx2") int64_t int8_avx2(int64_t rounds) {
  __m256i acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_epi16(static_cast<short>(i));
  const __m256i a = _mm256_set1_epi8(3);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i)  // the sum is an operand, so that no product can be taken out of the loop
      acc[i] = _mm256_add_epi16(acc[i], _mm256_maddubs_epi16(a, acc[i]));
  int64_t total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += lanes_sum(acc[i]);
  sink.fetch_add(total, std::memory_order_relaxed);
  return rounds * kSteps * kChains * 32 * 2;
}

#if defined(OWNLM_AVX512VL_VNNI)
OWNLM_TARGET("avx2,avx512f,avx512vl,avx512vnni") int64_t int8_evex256(int64_t rounds) {
  __m256i acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_epi32(i);
  const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(1);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm256_dpbusd_epi32(acc[i], a, b);
  int64_t total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += lanes_sum(acc[i]);
  sink.fetch_add(total, std::memory_order_relaxed);
  return rounds * kSteps * kChains * 32 * 2;
}
#endif

#if defined(OWNLM_AVX_VNNI)
OWNLM_TARGET("avx2,avxvnni") int64_t int8_avx_vnni(int64_t rounds) {
  __m256i acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_epi32(i);
  const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(1);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm256_dpbusd_avx_epi32(acc[i], a, b);
  int64_t total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += lanes_sum(acc[i]);
  sink.fetch_add(total, std::memory_order_relaxed);
  return rounds * kSteps * kChains * 32 * 2;
}
#endif

OWNLM_TARGET("avx2,fma") int64_t f32_avx2(int64_t rounds) {
  __m256 acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 half = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1.0f);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = _mm256_fmadd_ps(acc[i], half, b);
  int64_t total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += lanes_sum(_mm256_cvtps_epi32(acc[i]));
  sink.fetch_add(total, std::memory_order_relaxed);
  return rounds * kSteps * kChains * 8 * 2;
}

#elif defined(OWNLM_PROBE_ARM)

OWNLM_TARGET("arch=armv8.2-a+dotprod") int64_t int8_dotprod(int64_t rounds) {
  int32x4_t acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = vdupq_n_s32(i);
  const int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(1);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = vdotq_s32(acc[i], a, b);
  int64_t total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += vaddvq_s32(acc[i]);
  sink.fetch_add(total, std::memory_order_relaxed);
  return rounds * kSteps * kChains * 16 * 2;
}

#if defined(OWNLM_NEON_I8MM)
OWNLM_TARGET("arch=armv8.2-a+i8mm") int64_t int8_i8mm(int64_t rounds) {
  int32x4_t acc[kChains];
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = vdupq_n_s32(i);
  const int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(1);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = vmmlaq_s32(acc[i], a, b);
  int64_t total = 0;
  OWNLM_UNROLL for (int i = 0; i < kChains; ++i) total += vaddvq_s32(acc[i]);
  sink.fetch_add(total, std::memory_order_relaxed);
  return rounds * kSteps * kChains * 32 * 2;
}
#endif

#endif

using Work = int64_t (*)(int64_t rounds);
using Read = uint64_t (*)(const uint8_t*, int64_t);

bool begins(const std::string& name, const char* with) { return name.rfind(with, 0) == 0; }

// nullptr: not there. Names are those of the tables of kernels, which say what this machine runs.
Work work_of(const std::string& kind) {
  const std::string isa = kernels()->name;
#if defined(OWNLM_PROBE_X86)
#if defined(OWNLM_AVX512VL_VNNI)
  if (isa == "avx512vl_vnni") return kind == "int8" ? int8_evex256 : kind == "f32" ? f32_avx2 : nullptr;
#endif
#if defined(OWNLM_AVX_VNNI)
  if (isa == "avx_vnni" && kind == "int8") return int8_avx_vnni;
#endif
  if (begins(isa, "avx512") || begins(isa, "amx")) {
    if (kind == "int8") return int8_avx512;
    if (kind == "f32") return f32_avx512;
    return isa == "avx512_vnni" ? nullptr : bf16_avx512;
  }
  if (begins(isa, "avx")) return kind == "int8" ? int8_avx2 : kind == "f32" ? f32_avx2 : nullptr;
#elif defined(OWNLM_PROBE_ARM)
#if defined(OWNLM_NEON_I8MM)
  if (isa == "neon_i8mm" && kind == "int8") return int8_i8mm;
#endif
  if (begins(isa, "neon") && kind == "int8") return int8_dotprod;
#endif
  return kind == "bf16" ? nullptr : f32_plain;  // plain kernels multiply bytes as floats
}

Read reader() {
#if defined(OWNLM_PROBE_X86)
  const std::string isa = kernels()->name;
  if ((begins(isa, "avx512") && isa != "avx512vl_vnni") || begins(isa, "amx")) return read_avx512;
#endif
  return read_plain;
}

}  // namespace

double probe_read(const uint8_t* data, int64_t bytes) {
  const Read read = reader();
  const auto start = std::chrono::steady_clock::now();
  pool::run((bytes + kChunk - 1) / kChunk, 0, true, [&](int64_t i, int, void*) {
    const uint64_t sum = read(data + i * kChunk, std::min(kChunk, bytes - i * kChunk));
    sink.fetch_add(static_cast<int64_t>(sum & 0xff), std::memory_order_relaxed);
  });
  return since(start);
}

Products probe_products(const std::string& kind, int64_t rounds) {
  const Work work = work_of(kind);
  if (!work) return {0, 0.0};
  constexpr int64_t kTask = 16;  // rounds: short enough that a thread which comes late still gets its share
  std::atomic<int64_t> operations{0};
  const auto start = std::chrono::steady_clock::now();
  pool::run((rounds * pool::threads() + kTask - 1) / kTask, 0, true,
            [&](int64_t, int, void*) { operations.fetch_add(work(kTask), std::memory_order_relaxed); });
  return {operations.load(), since(start)};
}

}  // namespace ownlm
