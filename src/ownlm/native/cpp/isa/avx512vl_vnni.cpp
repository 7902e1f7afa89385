// avx_vnni.cpp in the EVEX encoding: vectors of 256 bits on processors with AVX-512 VNNI and VL, for those that lower their
// clock for vectors of 512 (Cascade Lake), and so that a processor without AVX-VNNI runs its tests.
#define OWNLM_DPBUSD256 _mm256_dpbusd_epi32
#define OWNLM_NAME "avx512vl_vnni"
#define OWNLM_TABLE avx512vl_vnni_kernels
#include "avx_vnni.cpp"
