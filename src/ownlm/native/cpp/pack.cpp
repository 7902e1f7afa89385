// Packs weights for the kernels, panel by panel, over all threads; kernels.h says how they lie.
#include <algorithm>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "drivers.h"
#include "k_blocks.h"
#include "pool.h"

namespace ownlm {
namespace {

constexpr int64_t kTaskBytes = 256 << 10;

uint32_t load32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

// Rows of floats or pairs of bfloat16: words of 4 bytes of 16 rows side by side, a stretch at a time that stays in cache.
void pack_words(const PanelRows& r, int64_t row_bytes, uint8_t* data) {
  constexpr int64_t kStretch = 64;
  const int64_t whole = row_bytes / 4, words = (row_bytes + 3) / 4;
  for (int64_t start = 0; start < words; start += kStretch)
    for (int c = 0; c < kPanel; ++c) {
      uint8_t* to = data + start * 64 + c * 4;
      for (int64_t i = start; i < std::min(words, start + kStretch); ++i, to += 64) {
        uint32_t word = 0;
        if (r.row[c] && i < whole) word = load32(r.row[c] + 4 * i);
        else if (r.row[c]) std::memcpy(&word, r.row[c] + 4 * i, 2);  // the last of an odd number of bfloat16
        std::memcpy(to, &word, 4);
      }
    }
}

#if defined(__SSE2__)
// As pack_blocks where no row is missing: words of 4 rows are turned in registers, which is three times as fast.
template <int kWords, uint32_t flip>
void pack_whole_blocks(const PanelRows& r, int64_t groups, uint8_t* data, uint16_t* scales) {
  constexpr int kBytes = 2 + 4 * kWords;
  const __m128i turn = _mm_set1_epi32(static_cast<int>(flip));
  for (int64_t g = 0; g < groups; ++g, data += kWords * 64, scales += kPanel)
    for (int c = 0; c < kPanel; c += 4) {
      for (int i = 0; i < 4; ++i) {
        const uint8_t* block = r.row[c + i] + g * kBytes;
        scales[c + i] = static_cast<uint16_t>(block[0] | block[1] << 8);
      }
      for (int j = 0; j < kWords; j += 4) {
        __m128i v[4];
        for (int i = 0; i < 4; ++i) v[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(r.row[c + i] + g * kBytes + 2 + 4 * j));
        const __m128i a = _mm_unpacklo_epi32(v[0], v[1]), b = _mm_unpacklo_epi32(v[2], v[3]);
        const __m128i d = _mm_unpackhi_epi32(v[0], v[1]), e = _mm_unpackhi_epi32(v[2], v[3]);
        const __m128i words[4] = {_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b), _mm_unpacklo_epi64(d, e), _mm_unpackhi_epi64(d, e)};
        for (int i = 0; i < 4; ++i)
          _mm_store_si128(reinterpret_cast<__m128i*>(data + (j + i) * 64 + c * 4), _mm_xor_si128(words[i], turn));
      }
    }
}
#endif

// Blocks of a scale and `kWords` words of 4 bytes: words of 16 rows side by side, each turned by `flip`.
template <int kWords, uint32_t flip>
void pack_blocks(const PanelRows& r, int64_t groups, uint8_t* data, uint16_t* scales) {
  constexpr int kBytes = 2 + 4 * kWords;
#if defined(__SSE2__)
  if (r.row[kPanel - 1]) return pack_whole_blocks<kWords, flip>(r, groups, data, scales);
#endif
  for (int64_t g = 0; g < groups; ++g, data += kWords * 64, scales += kPanel)
    for (int c = 0; c < kPanel; ++c) {
      if (!r.row[c]) {  // a scale of zero makes any weight zero
        scales[c] = 0;
        for (int j = 0; j < kWords; ++j) std::memset(data + j * 64 + c * 4, 0, 4);
        continue;
      }
      const uint8_t* block = r.row[c] + g * kBytes;
      scales[c] = static_cast<uint16_t>(block[0] | block[1] << 8);
      for (int j = 0; j < kWords; ++j) {
        const uint32_t word = load32(block + 2 + 4 * j) ^ flip;
        std::memcpy(data + j * 64 + c * 4, &word, 4);
      }
    }
}

// Blocks of the K formats. A row that is not there has scales of zero.
void pack_k(Format f, const PanelRows& r, int64_t blocks, uint8_t* data, uint8_t* scales) {
  const int64_t bytes = stored_row_bytes(f, kSuper), group = panel_bytes(f, kGroup), each = panel_scale_bytes(f, kSuper);
  const auto put16 = [](uint8_t* to, uint16_t v) { std::memcpy(to, &v, 2); };
  for (int64_t i = 0; i < blocks; ++i, data += 8 * group, scales += each) {
    std::memset(data, 0, static_cast<size_t>(8 * group));
    std::memset(scales, 0, static_cast<size_t>(each));
    for (int c = 0; c < kPanel; ++c) {
      if (!r.row[c]) continue;
      const KBlock b = read_k_block(f, r.row[c] + i * bytes);
      put16(scales + 2 * c, b.d);
      if (f == Format::q6_k) {
        for (int g = 0; g < 16; ++g) scales[32 + g * kPanel + c] = static_cast<uint8_t>(b.s[g]);
      } else {
        put16(scales + 32 + 2 * c, b.minimum);
        for (int g = 0; g < 8; ++g) {
          scales[64 + g * kPanel + c] = static_cast<uint8_t>(b.s[g]);
          scales[192 + g * kPanel + c] = b.m[g];
        }
      }
      for (int g = 0; g < 8; ++g)
        for (int n = 0; n < kGroup; ++n) {
          const int j = n / 4, q = b.q[g * kGroup + n];
          uint8_t* at = data + g * group + c * 4 + n % 4;
          at[j % 4 * 64] |= static_cast<uint8_t>((q & 15) << (j < 4 ? 0 : 4));
          if (f == Format::q5_k) at[256] |= static_cast<uint8_t>((q >> 4) << j);
          if (f == Format::q6_k) at[256 + j / 4 * 64] |= static_cast<uint8_t>((q >> 4) << 2 * (j % 4));
        }
    }
  }
}

}  // namespace

int64_t panel_bytes(Format f, int64_t k) {
  switch (f) {
    case Format::f32: return k * kPanel * 4;
    case Format::bf16: return (k + 1) / 2 * kPanel * 4;
    case Format::q8_0: return k * kPanel;
    case Format::q5_k: return k * kPanel / 8 * 5;
    case Format::q6_k: return k * kPanel / 8 * 6;
    default: return k * kPanel / 2;
  }
}

int64_t panel_scale_bytes(Format f, int64_t k) {
  switch (f) {
    case Format::q8_0:
    case Format::q4_0: return k / kGroup * kPanel * 2;
    case Format::q4_k:
    case Format::q5_k: return k / kSuper * kPanel * 20;
    case Format::q6_k: return k / kSuper * kPanel * 18;
    default: return 0;
  }
}
int64_t data_bytes(const Packed& w) { return panels(w) * panel_bytes(w.format, w.k); }
int64_t scale_bytes(const Packed& w) { return panels(w) * panel_scale_bytes(w.format, w.k); }

void pack_panel(Format f, const PanelRows& r, int64_t k, uint8_t* data, uint16_t* scales) {
  switch (f) {
    case Format::f32: return pack_words(r, 4 * k, data);
    case Format::bf16: return pack_words(r, 2 * k, data);
    case Format::q8_0: return pack_blocks<8, 0x80808080u>(r, k / kGroup, data, scales);
    case Format::q4_0: return pack_blocks<4, 0>(r, k / kGroup, data, scales);
    default: return pack_k(f, r, k / kSuper, data, reinterpret_cast<uint8_t*>(scales));
  }
}

namespace {

// rows(p): those of panel p
template <class Rows>
Weight pack_panels(Format f, int64_t n, int64_t k, bool glu, Rows rows) {
  Packed w{f, n, k, nullptr, nullptr, glu};
  const int64_t count = panels(w), each = panel_bytes(f, k), scales_each = panel_scale_bytes(f, k);
  const size_t bytes = static_cast<size_t>(data_bytes(w)), more = static_cast<size_t>(scale_bytes(w));
  Weight to{w, allocate_raw(bytes), more ? allocate_raw(more) : nullptr, bytes + more};
  const int64_t share = std::max<int64_t>(1, kTaskBytes / std::max<int64_t>(1, each));
  uint8_t* data = to.data.get();
  uint16_t* scales = reinterpret_cast<uint16_t*>(to.scales.get());
  pool::run((count + share - 1) / share, 0, count > share, [&](int64_t task, int, void*) {
    for (int64_t p = task * share; p < std::min(count, (task + 1) * share); ++p) {
      pack_panel(f, rows(p), k, data + p * each, scales + p * scales_each / 2);
    }
  });
  to.packed.data = data;
  to.packed.scales = scales;
  return to;
}

}  // namespace

void link(Weight& last, Weight next) {
  last.next = std::make_unique<Weight>(std::move(next));
  last.packed.next = &last.next->packed;
}

void Free::operator()(uint8_t* p) const { ::operator delete(p, std::align_val_t{alignment}); }

// Weights are read from end to end for every token: on small pages, the processor stops at each to look its address up, which
// costs an eighth of the bandwidth of a virtual machine.
Buffer allocate_raw(size_t bytes) {
  constexpr size_t kHuge = 2 << 20;
  const size_t alignment = bytes >= kHuge ? kHuge : kAlign;
  Buffer b(static_cast<uint8_t*>(::operator new(std::max<size_t>(bytes, 1), std::align_val_t{alignment})), Free{alignment});
#if defined(MADV_HUGEPAGE)
  if (bytes >= kHuge) madvise(b.get(), bytes / kHuge * kHuge, MADV_HUGEPAGE);  // a wish: where it is not met, all works the same
#endif
  return b;
}

Buffer allocate(size_t bytes) {
  Buffer b = allocate_raw(bytes);
  std::memset(b.get(), 0, bytes);
  return b;
}

int64_t stored_row_bytes(Format f, int64_t k) {
  switch (f) {
    case Format::f32: return 4 * k;
    case Format::bf16: return 2 * k;
    case Format::q8_0: return k / kGroup * kBlockBytes;
    case Format::q4_k: return k / kSuper * 144;
    case Format::q5_k: return k / kSuper * 176;
    case Format::q6_k: return k / kSuper * 210;
    default: return k / kGroup * kQ4BlockBytes;
  }
}

Weight pack(Format f, const std::vector<Stored>& stacked, int64_t k) {
  const int64_t row_bytes = stored_row_bytes(f, k);
  int64_t n = 0;
  for (const Stored& s : stacked) n += s.rows;
  return pack_panels(f, n, k, false, [&](int64_t p) {
    PanelRows r{};
    int64_t row = p * kPanel;
    size_t i = 0;
    while (i < stacked.size() && row >= stacked[i].rows) row -= stacked[i++].rows;
    for (int c = 0; c < kPanel && i < stacked.size(); ++c) {
      r.row[c] = stacked[i].data + row * row_bytes;
      for (++row; i < stacked.size() && row >= stacked[i].rows; row = 0) ++i;
    }
    return r;
  });
}

Weight pack_glu(Format f, const Stored& gate, const Stored& up, int64_t k) {
  const int64_t row_bytes = stored_row_bytes(f, k);
  return pack_panels(f, 2 * gate.rows, k, true, [&](int64_t p) {
    PanelRows r{};
    for (int64_t c = 0, row = p / 2 * kPanel; c < kPanel && row < gate.rows; ++c, ++row)
      r.row[c] = (p % 2 ? up : gate).data + row * row_bytes;
    return r;
  });
}

}  // namespace ownlm
