// What an encoder needs beside linear layers, written once over V. Included after vec_*.h, math.h and gemm.h.
#pragma once

namespace ownlm {
namespace {

// Ba, Kiros and Hinton, "Layer Normalization", 2016. Two passes: the variance of E[x^2] - E[x]^2 would cancel.
inline void layer_norm(const LayerNorm& l, int64_t row0, int64_t row1) {
  const int64_t d = l.width;
  for (int64_t row = row0; row < row1; ++row) {
    const float* x = l.x + row * d;
    const float* residual = l.residual ? l.residual + row * d : nullptr;
    float* out = l.out + row * d;
    V total = set1(0.0f);
    for (int64_t i = 0; i < d; i += kWidth) {
      const int count = static_cast<int>(d - i < kWidth ? d - i : kWidth);
      V v = load_n(x + i, count);
      if (residual) v = add(v, load_n(residual + i, count));
      store_n(out + i, v, count);
      total = add(total, v);
    }
    const float mean = sum(total) / static_cast<float>(d);
    const V m = set1(mean);
    V squares = set1(0.0f);
    int64_t i = 0;
    for (; i + kWidth <= d; i += kWidth) {
      const V v = sub(load(out + i), m);
      squares = fma(v, v, squares);
    }
    float variance = sum(squares);
    for (; i < d; ++i) variance += (out[i] - mean) * (out[i] - mean);
    variance /= static_cast<float>(d);
    const V inverse = div(set1(1.0f), set1(sqrtf(variance + l.eps)));
    for (i = 0; i < d; i += kWidth) {
      const int count = static_cast<int>(d - i < kWidth ? d - i : kWidth);
      const V v = mul(sub(load_n(out + i, count), m), inverse);
      store_n(out + i, fma(v, load_n(l.weight + i, count), load_n(l.bias + i, count)), count);
    }
  }
}

// softmax(q k^T scale) v, a tile of queries at a time against all keys of the sequence (Vaswani et al., 2017).
inline void attention(const Attention& a) {
  const int64_t length = a.length, d = a.head_dim, keys = padded(length), values = padded(d);
  float* k = a.scratch;                          // [keys/16][d][16]
  float* v = k + keys * d;                       // [values/16][length][16]
  float* scores = v + values * length;           // [tile][keys]
  float* q = scores + kMaxTile * keys;           // [tile][d], scaled
  float* result = q + kMaxTile * values;         // [tile][values]
  for (int64_t t = 0; t < keys; ++t)
    for (int64_t i = 0; i < d; ++i)
      k[(t / kPanel) * kPanel * d + i * kPanel + t % kPanel] = t < length ? a.qkv[t * a.stride + a.key_offset + i] : 0.0f;
  for (int64_t i = 0; i < values; i += kWidth)
    for (int64_t t = 0; t < length; ++t) {
      const int count = static_cast<int>(d - i < kWidth ? d - i : kWidth);
      store(v + (i / kPanel) * kPanel * length + t * kPanel + i % kPanel, load_n(a.qkv + t * a.stride + 2 * a.key_offset + i, count));
    }
  const float scale = a.scale * 1.4426950408889634f;  // softmax in powers of two
  for (int64_t q0 = a.q0; q0 < a.q1; q0 += OWNLM_TILE_ROWS) {
    const int rows = static_cast<int>(a.q1 - q0 < OWNLM_TILE_ROWS ? a.q1 - q0 : OWNLM_TILE_ROWS);
    for (int m = 0; m < rows; ++m)
      for (int64_t i = 0; i < d; ++i) q[m * d + i] = a.qkv[(q0 + m) * a.stride + i] * scale;
    int64_t t = 0;
    if (OWNLM_TILE_PANELS == 2)
      for (; t + 2 * kPanel <= keys; t += 2 * kPanel)
        tile_f32_rows<OWNLM_TILE_PANELS>(rows, q, d, k + t * d, kPanel * d, d, scores + t, keys);
    for (; t < keys; t += kPanel) tile_f32_rows<1>(rows, q, d, k + t * d, kPanel * d, d, scores + t, keys);
    float inverse[kMaxTile];
    for (int m = 0; m < rows; ++m) {
      float* row = scores + m * keys;
      for (t = length; t < keys; ++t) row[t] = -3.0e38f;
      V peak = load(row);
      for (t = kWidth; t < keys; t += kWidth) peak = vmax(peak, load(row + t));
      const V most = set1(maximum(peak));
      V total = set1(0.0f);
      for (t = 0; t + kWidth <= length; t += kWidth) {
        const V e = exp2_nonpositive(sub(load(row + t), most));
        store(row + t, e);
        total = add(total, e);
      }
      if (t < length) {
        const int count = static_cast<int>(length - t);
        store(row + t, exp2_nonpositive(sub(load(row + t), most)));
        total = add(total, load_n(row + t, count));
      }
      inverse[m] = 1.0f / sum(total);
    }
    int64_t i = 0;
    if (OWNLM_TILE_PANELS == 2)
      for (; i + 2 * kPanel <= values; i += 2 * kPanel)
        tile_f32_rows<OWNLM_TILE_PANELS>(rows, scores, keys, v + i * length, kPanel * length, length, result + i, values);
    for (; i < values; i += kPanel) tile_f32_rows<1>(rows, scores, keys, v + i * length, kPanel * length, length, result + i, values);
    for (int m = 0; m < rows; ++m)
      for (i = 0; i < d; i += kWidth) {
        const int count = static_cast<int>(d - i < kWidth ? d - i : kWidth);
        store_n(a.out + (q0 + m) * a.out_stride + i, mul(load(result + m * values + i), set1(inverse[m])), count);
      }
  }
}

inline void mean_pool(const float* x, int64_t rows, int64_t width, bool normalize, float* out) {
  V squares = set1(0.0f);
  const V share = set1(rows > 0 ? 1.0f / static_cast<float>(rows) : 0.0f);
  for (int64_t i = 0; i < width; i += kWidth) {
    const int count = static_cast<int>(width - i < kWidth ? width - i : kWidth);
    V total = set1(0.0f);
    for (int64_t t = 0; t < rows; ++t) total = add(total, load_n(x + t * width + i, count));
    total = mul(total, share);
    store_n(out + i, total, count);
    squares = fma(total, total, squares);
  }
  if (!normalize) return;
  const float norm = sqrtf(sum(squares));
  const V inverse = set1(1.0f / (norm > 1e-12f ? norm : 1e-12f));
  for (int64_t i = 0; i < width; i += kWidth) {
    const int count = static_cast<int>(width - i < kWidth ? width - i : kWidth);
    store_n(out + i, mul(load_n(out + i, count), inverse), count);
  }
}

inline void dequantize(const uint8_t* blocks, int64_t count, float* out, bool accumulate) {
  for (int64_t b = 0; b < count; ++b, blocks += kBlockBytes, out += kGroup) {
    const V scale = set1(half_to_float(static_cast<uint16_t>(blocks[0] | (blocks[1] << 8))));
    const int8_t* q = reinterpret_cast<const int8_t*>(blocks + 2);
    for (int i = 0; i < kGroup; i += kWidth) {
      const V v = mul(load_i8(q + i), scale);
      store(out + i, accumulate ? add(load(out + i), v) : v);
    }
  }
}

inline void add_floats(const float* x, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(out + i, add(load(out + i), load(x + i)));
  for (; i < count; ++i) out[i] += x[i];
}

}  // namespace
}  // namespace ownlm
