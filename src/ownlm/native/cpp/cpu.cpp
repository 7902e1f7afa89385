#include "cpu.h"

#include <atomic>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(OWNLM_NEON_DOTPROD) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(OWNLM_NEON_I8MM) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(OWNLM_AMX_INT8) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace ownlm {
namespace {

#if defined(__x86_64__)
// Linux keeps the tiles' 8 KB of a process that asked for it: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), since 5.16.
bool tiles_granted() {
#if defined(OWNLM_AMX_INT8) && defined(__linux__)
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return false;
#endif
}

#if defined(OWNLM_AMX_EMULATED)  // see isa/amx_tiles.h
constexpr bool kTilesEmulated = true;
#else
constexpr bool kTilesEmulated = false;
#endif

struct Features {
  bool avx2 = false, avx_vnni = false, avx512_vnni = false, avx512_bf16 = false, amx_int8 = false;

  Features() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    const bool osxsave = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!osxsave) return;
    // which registers the operating system saves: a processor may have AVX-512 while the system does not keep it
    unsigned saved, high;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    const bool ymm = (saved & 0x06) == 0x06, zmm = (saved & 0xe6) == 0xe6, tmm = (saved & 0x60000) == 0x60000;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = ymm && fma && f16c && (b >> 5 & 1);
    const bool f = b >> 16 & 1, dq = b >> 17 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1, vnni = c >> 11 & 1, tiles = d >> 24 & d >> 25 & 1;
    avx512_vnni = avx2 && zmm && f && dq && bw && vl && vnni;
    if (a < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return;
    avx_vnni = avx2 && (a >> 4 & 1);
    avx512_bf16 = avx512_vnni && (a >> 5 & 1);
    amx_int8 = avx512_bf16 && (kTilesEmulated || (tmm && tiles && tiles_granted()));
  }
};
#endif

#if defined(OWNLM_NEON_DOTPROD)
bool has_dotprod() {
#if defined(__linux__)
  return getauxval(AT_HWCAP) >> 20 & 1;  // HWCAP_ASIMDDP
#else
  return true;  // every processor of Apple's that runs macOS
#endif
}
#endif

#if defined(OWNLM_NEON_I8MM)
bool has_i8mm() {
#if defined(__linux__)
  return getauxval(AT_HWCAP2) >> 13 & 1;  // HWCAP2_I8MM
#elif defined(__APPLE__)
  int has = 0;  // Apple's from M2 on
  size_t size = sizeof(has);
  return sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nullptr, 0) == 0 && has;
#else
  return false;
#endif
}
#endif

std::atomic<const Kernels*> current{nullptr};

}  // namespace

std::vector<const Kernels*> usable_kernels() {
  std::vector<const Kernels*> all{portable_kernels()};
#if defined(__x86_64__)
  static const Features features;
#endif
#if defined(OWNLM_AVX2)
  if (features.avx2) all.push_back(avx2_kernels());
#endif
#if defined(OWNLM_AVX_VNNI)
  if (features.avx_vnni) all.push_back(avx_vnni_kernels());
#endif
#if defined(OWNLM_AVX512VL_VNNI)
  if (features.avx512_vnni) all.push_back(avx512vl_vnni_kernels());
#endif
#if defined(OWNLM_AVX512_VNNI)
  if (features.avx512_vnni) all.push_back(avx512_vnni_kernels());
#endif
#if defined(OWNLM_AVX512_BF16)
  if (features.avx512_bf16) all.push_back(avx512_bf16_kernels());
#endif
#if defined(OWNLM_AMX_INT8)
  if (features.amx_int8) all.push_back(amx_int8_kernels());
#endif
#if defined(OWNLM_NEON_DOTPROD)
  if (has_dotprod()) all.push_back(neon_dotprod_kernels());
#endif
#if defined(OWNLM_NEON_I8MM)
  if (has_dotprod() && has_i8mm()) all.push_back(neon_i8mm_kernels());
#endif
  return all;
}

const Kernels* kernels() {
  const Kernels* k = current.load(std::memory_order_acquire);
  if (!k) current.store(k = usable_kernels().back(), std::memory_order_release);
  return k;
}

bool use_kernels(const std::string& name) {
  for (const Kernels* k : usable_kernels())
    if (name == k->name) {
      current.store(k, std::memory_order_release);
      return true;
    }
  return false;
}

}  // namespace ownlm
