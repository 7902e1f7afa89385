// Tile registers (Intel AMX), or, with OWNLM_AMX_EMULATED, what they do in plain C++, so that the kernels over them are tested on
// processors without. Tiles are numbered 0 to 7; each has up to 16 rows of 64 bytes.
#pragma once
#ifdef OWNLM_AMX_EMULATED
#include <cstdio>
#include <cstdlib>
#endif

namespace ownlm {
namespace {

struct TileShapes {  // as ldtilecfg reads them
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int64_t height, int width) {
    rows[tile] = static_cast<uint8_t>(height);
    bytes[tile] = static_cast<uint16_t>(width);
  }
};
static_assert(sizeof(TileShapes) == 64, "the layout that ldtilecfg reads");

#ifndef OWNLM_AMX_EMULATED

// Assembly rather than intrinsics: GCC's take a number as it is written, and none of a template's.
inline void tiles_shape(const TileShapes& shapes) { __asm__ volatile("ldtilecfg %0" ::"m"(shapes)); }
inline void tiles_release() { __asm__ volatile("tilerelease"); }
template <int T>
inline void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
inline void tile_load(const void* from, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(T) : "memory");
}
template <int T>
inline void tile_store(void* to, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(T) : "memory");
}
// C[m][n] += the sum over k and i of A[m][4 k + i] B[k][4 n + i], signed bytes
template <int C, int A, int B>
inline void tile_dot() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#else

struct EmulatedTiles {
  TileShapes shapes;
  bool configured = false;
  alignas(64) int8_t bytes[8][16][64];

  void need(bool holds, const char* what) const {
    if (holds) return;
    std::fprintf(stderr, "tiles: %s\n", what);  // the processor would raise a fault
    std::abort();
  }
  void need_shape(int tile) const {
    need(configured && shapes.rows[tile] > 0 && shapes.rows[tile] <= 16 && shapes.bytes[tile] > 0 && shapes.bytes[tile] <= 64 && shapes.bytes[tile] % 4 == 0,
         "used without a shape");
  }
};
thread_local EmulatedTiles tiles;

inline void tiles_shape(const TileShapes& shapes) {
  tiles.shapes = shapes;
  tiles.configured = shapes.palette == 1;
  memset(tiles.bytes, 0, sizeof(tiles.bytes));
}
inline void tiles_release() { tiles.configured = false; }
template <int T>
inline void tile_zero() {
  tiles.need_shape(T);
  memset(tiles.bytes[T], 0, sizeof(tiles.bytes[T]));
}
template <int T>
inline void tile_load(const void* from, int64_t stride) {
  tile_zero<T>();
  for (int r = 0; r < tiles.shapes.rows[T]; ++r) memcpy(tiles.bytes[T][r], static_cast<const uint8_t*>(from) + r * stride, tiles.shapes.bytes[T]);
}
template <int T>
inline void tile_store(void* to, int64_t stride) {
  tiles.need_shape(T);
  for (int r = 0; r < tiles.shapes.rows[T]; ++r) memcpy(static_cast<uint8_t*>(to) + r * stride, tiles.bytes[T][r], tiles.shapes.bytes[T]);
}
template <int C, int A, int B>
inline void tile_dot() {
  const TileShapes& s = tiles.shapes;
  tiles.need_shape(A);
  tiles.need_shape(B);
  tiles.need_shape(C);
  tiles.need(s.rows[A] == s.rows[C] && s.bytes[B] == s.bytes[C] && s.bytes[A] / 4 == s.rows[B], "shapes that do not fit");
  for (int m = 0; m < s.rows[C]; ++m)
    for (int n = 0; n < s.bytes[C] / 4; ++n) {
      int32_t sum;
      memcpy(&sum, &tiles.bytes[C][m][4 * n], 4);
      for (int k = 0; k < s.rows[B]; ++k)
        for (int i = 0; i < 4; ++i) sum += tiles.bytes[A][m][4 * k + i] * tiles.bytes[B][k][4 * n + i];
      memcpy(&tiles.bytes[C][m][4 * n], &sum, 4);
    }
}

#endif

}  // namespace
}  // namespace ownlm
