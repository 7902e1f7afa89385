// neon_dotprod.cpp with products of pairs of rows (I8MM of Armv8.6: Graviton 3, Apple's from M2 on).
#define OWNLM_I8MM
#define OWNLM_NAME "neon_i8mm"
#define OWNLM_TABLE neon_i8mm_kernels
#include "neon_dotprod.cpp"
