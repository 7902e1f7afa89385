// Norms, rotary positions, gates and what samplers ask of a row of logits, written once over V.
#pragma once

namespace ownlm {
namespace {

// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
inline void rms_norm(const RmsNorm& n, int64_t row0, int64_t row1) {
  const int64_t d = n.width, whole = d / (4 * kWidth) * (4 * kWidth);
  const V offset = set1(n.offset);
  for (int64_t row = row0; row < row1; ++row) {
    const float* x = n.x + row * n.x_stride;
    float* out = n.out + row * n.out_stride;
    const float* residual = n.residual ? n.residual + row * n.out_stride : nullptr;
    V s[4] = {set1(0.0f), set1(0.0f), set1(0.0f), set1(0.0f)};
    int64_t i = 0;
    for (; i < whole; i += 4 * kWidth)
      OWNLM_UNROLL for (int j = 0; j < 4; ++j) {
        const V v = load(x + i + j * kWidth);
        s[j] = fma(v, v, s[j]);
      }
    for (; i < d; i += kWidth) {
      const V v = load_n(x + i, static_cast<int>(d - i < kWidth ? d - i : kWidth));
      s[0] = fma(v, v, s[0]);
    }
    const float square = sum(add(add(s[0], s[1]), add(s[2], s[3]))) / static_cast<float>(d);
    const V inverse = set1(1.0f / sqrtf(square + n.eps));
    for (i = 0; i < d; i += kWidth) {
      const int count = static_cast<int>(d - i < kWidth ? d - i : kWidth);
      V v = mul(mul(load_n(x + i, count), inverse), add(load_n(n.weight + i, count), offset));
      if (residual) v = add(v, load_n(residual + i, count));
      store_n(out + i, v, count);
    }
  }
}

// Su et al., "RoFormer", 2021, in the halves' layout of GPT-NeoX.
inline void rotate(float* x, const float* cosine, const float* sine, int64_t half) {
  for (int64_t i = 0; i < half; i += kWidth) {
    const int count = static_cast<int>(half - i < kWidth ? half - i : kWidth);
    const V a = load_n(x + i, count), b = load_n(x + half + i, count);
    const V c = load_n(cosine + i, count), s = load_n(sine + i, count);
    store_n(x + i, sub(mul(a, c), mul(b, s)), count);
    store_n(x + half + i, fma(a, s, mul(b, c)), count);
  }
}

inline void hadamard(float* x, int64_t count, int64_t head_dim) {
  const int64_t size = head_dim & -head_dim;
  const float scale = 1.0f / sqrtf(static_cast<float>(size));
  for (float* end = x + count * head_dim; x < end; x += size) {
    for (int64_t half = size / 2; half >= kWidth; half /= 2)
      for (int64_t i = 0; i < size; i += 2 * half)
        for (int64_t j = i; j < i + half; j += kWidth) {
          const V a = load(x + j), b = load(x + j + half);
          store(x + j, add(a, b));
          store(x + j + half, sub(a, b));
        }
    for (int64_t half = size / 2 < kWidth / 2 ? size / 2 : kWidth / 2; half > 0; half /= 2)
      for (int64_t i = 0; i < size; i += 2 * half)
        for (int64_t j = i; j < i + half; ++j) {
          const float a = x[j], b = x[j + half];
          x[j] = a + b;
          x[j + half] = a - b;
        }
    for (int64_t i = 0; i < size; ++i) x[i] *= scale;
  }
}

inline V tanh_(V x) {
  const V e = exp2_nonpositive(mul(vabs(x), set1(-2.0f * 1.4426950408889634f)));
  const V t = div(sub(set1(1.0f), e), add(set1(1.0f), e)), zero = set1(0.0f);
  return sub(vmin(t, vmax(x, zero)), vmin(t, vmax(sub(zero, x), zero)));
}

inline void scale_add(const float* x, float scale, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kWidth) {
    const int n = static_cast<int>(count - i < kWidth ? count - i : kWidth);
    store_n(out + i, fma(load_n(x + i, n), set1(scale), load_n(out + i, n)), n);
  }
}

inline void softcap(float* x, int64_t count, float scale, float cap) {
  const V before = set1(cap > 0 ? scale / cap : scale), after = set1(cap);
  for (int64_t i = 0; i < count; i += kWidth) {
    const int n = static_cast<int>(count - i < kWidth ? count - i : kWidth);
    V v = mul(load_n(x + i, n), before);
    if (cap > 0) v = mul(tanh_(v), after);
    store_n(x + i, v, n);
  }
}

inline float row_maximum(const float* x, int64_t count) {
  if (count < kWidth) {
    float m = x[0];
    for (int64_t i = 1; i < count; ++i) m = x[i] > m ? x[i] : m;
    return m;
  }
  V m = load(x + count - kWidth), m1 = m;
  int64_t i = 0;
  for (; i + 2 * kWidth <= count; i += 2 * kWidth) {
    m = vmax(m, load(x + i));
    m1 = vmax(m1, load(x + i + kWidth));
  }
  if (i + kWidth <= count) m = vmax(m, load(x + i));
  return maximum(vmax(m, m1));
}

// In blocks, so that float sums stay short; peak is the largest x, so that no exponent is positive.
inline double sum_exp(const float* x, int64_t count, float scale, float peak) {
  const V factor = set1(scale * 1.4426950408889634f), top = set1(peak);
  double total = 0;
  for (int64_t block = 0; block < count; block += 4096) {
    const int64_t end = count - block < 4096 ? count : block + 4096;
    V s = set1(0.0f);
    int64_t i = block;
    for (; i + kWidth <= end; i += kWidth) s = add(s, exp2_nonpositive(mul(sub(load(x + i), top), factor)));
    total += static_cast<double>(sum(s));
    for (; i < end; ++i) total += static_cast<double>(expf((x[i] - peak) * scale));
  }
  return total;
}

inline int64_t next_above(const float* x, int64_t from, int64_t count, float bound) {
  int64_t i = from;
  for (; i + 4 * kWidth <= count; i += 4 * kWidth) {
    const V m = vmax(vmax(load(x + i), load(x + i + kWidth)), vmax(load(x + i + 2 * kWidth), load(x + i + 3 * kWidth)));
    if (maximum(m) > bound) break;
  }
  while (i < count && !(x[i] > bound)) ++i;
  return i;
}

}  // namespace
}  // namespace ownlm
