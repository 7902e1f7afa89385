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

// Takes what was computed, so that no compiler leaves the work out.
void keep(const void* sums, size_t bytes) {
  uint64_t total = 0, part;
  for (size_t i = 0; i + sizeof(part) <= bytes; i += sizeof(part)) {
    std::memcpy(&part, static_cast<const char*>(sums) + i, sizeof(part));
    total += part;
  }
  sink.fetch_add(static_cast<int64_t>(total & 0xff), std::memory_order_relaxed);
}

int64_t f32_plain(int64_t rounds) {
  constexpr int lanes = kChains * 4;
  float sums[lanes], x[lanes];
  for (int i = 0; i < lanes; ++i) sums[i] = 1.0f, x[i] = 1.0f / static_cast<float>(i + 1);
  for (int64_t r = 0; r < rounds * kSteps; ++r)
    for (int i = 0; i < lanes; ++i)
#if defined(__aarch64__)
      sums[i] = __builtin_fmaf(sums[i], 0.5f, x[i]);
#else
      sums[i] = sums[i] * 0.5f + x[i];
#endif
  keep(sums, sizeof(sums));
  return rounds * kSteps * lanes * 2;
}

// NAME: kChains vectors, each FIRST and then NEXT of itself, again and again; PRODUCTS are in one NEXT. An expression of
// acc[i] has to need it, or it could be taken out of the loop.
#define OWNLM_PRODUCTS(NAME, TARGET, VECTOR, PRODUCTS, FIRST, NEXT)                      \
  OWNLM_TARGET(TARGET) int64_t NAME(int64_t rounds) {                                    \
    VECTOR acc[kChains];                                                                 \
    OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = FIRST;                       \
    for (int64_t r = 0; r < rounds * kSteps; ++r)                                        \
      OWNLM_UNROLL for (int i = 0; i < kChains; ++i) acc[i] = NEXT;                      \
    keep(acc, sizeof(acc));                                                              \
    return rounds * kSteps * kChains * PRODUCTS * 2;                                     \
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

OWNLM_PRODUCTS(int8_avx512, "avx512f,avx512bw,avx512vl,avx512vnni", __m512i, 64, _mm512_set1_epi32(i),
               _mm512_dpbusd_epi32(acc[i], _mm512_set1_epi8(3), _mm512_set1_epi8(1)))
OWNLM_PRODUCTS(bf16_avx512, "avx512f,avx512bw,avx512vl,avx512bf16", __m512, 32, _mm512_set1_ps(static_cast<float>(i)),
               _mm512_dpbf16_ps(acc[i], reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80)),
                                reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80))))
OWNLM_PRODUCTS(f32_avx512, "avx512f", __m512, 16, _mm512_set1_ps(static_cast<float>(i)),
               _mm512_fmadd_ps(acc[i], _mm512_set1_ps(0.5f), _mm512_set1_ps(1.0f)))
// Without VNNI: products of a pair of lanes, summed in 16 bits, as formats of four bits allow for a group.
OWNLM_PRODUCTS(int8_avx2, "avx2", __m256i, 32, _mm256_set1_epi16(static_cast<short>(i)),
               _mm256_add_epi16(acc[i], _mm256_maddubs_epi16(_mm256_set1_epi8(3), acc[i])))
OWNLM_PRODUCTS(f32_avx2, "avx2,fma", __m256, 8, _mm256_set1_ps(static_cast<float>(i)),
               _mm256_fmadd_ps(acc[i], _mm256_set1_ps(0.5f), _mm256_set1_ps(1.0f)))
#if defined(OWNLM_AVX512VL_VNNI)
OWNLM_PRODUCTS(int8_evex256, "avx2,avx512f,avx512vl,avx512vnni", __m256i, 32, _mm256_set1_epi32(i),
               _mm256_dpbusd_epi32(acc[i], _mm256_set1_epi8(3), _mm256_set1_epi8(1)))
#endif
#if defined(OWNLM_AVX_VNNI)
OWNLM_PRODUCTS(int8_avx_vnni, "avx2,avxvnni", __m256i, 32, _mm256_set1_epi32(i),
               _mm256_dpbusd_avx_epi32(acc[i], _mm256_set1_epi8(3), _mm256_set1_epi8(1)))
#endif

#elif defined(OWNLM_PROBE_ARM)

OWNLM_PRODUCTS(int8_dotprod, "arch=armv8.2-a+dotprod", int32x4_t, 16, vdupq_n_s32(i),
               vdotq_s32(acc[i], vdupq_n_s8(3), vdupq_n_s8(1)))
#if defined(OWNLM_NEON_I8MM)
OWNLM_PRODUCTS(int8_i8mm, "arch=armv8.2-a+i8mm", int32x4_t, 32, vdupq_n_s32(i),
               vmmlaq_s32(acc[i], vdupq_n_s8(3), vdupq_n_s8(1)))
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
