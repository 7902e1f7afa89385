// exp2, GELU and gates over vectors. Included after a vec_*.h, into an anonymous namespace: every instruction set has its own.
#pragma once

namespace ownlm {
namespace {

// 2^x for x <= 0, relative error 3e-7; below -126 it gives 2^-126, which softmax cannot tell from zero.
inline V exp2_nonpositive(V x) {
  x = vmax(x, set1(-126.0f));
  const V n = nearest(x);
  const V r = sub(x, n);
  // minimax for 2^r on [-1/2, 1/2], relative error 1e-7 (fitted by weighted least squares at Chebyshev nodes)
  V p = set1(0.00015345762949436903f);
  p = fma(p, r, set1(0.0013399930903688073f));
  p = fma(p, r, set1(0.009618489071726799f));
  p = fma(p, r, set1(0.05550328642129898f));
  p = fma(p, r, set1(0.24022646248340607f));
  p = fma(p, r, set1(0.6931471824645996f));
  p = fma(p, r, set1(1.0f));
  return mul(p, pow2(n));
}

// erf(z) = z * P(2 z^2 / 3.8^2 - 1) on |z| <= 3.8, clamped to 1 beyond; absolute error 5e-7. In z^2 itself the powers
// would cancel in float; over [-1, 1] they do not. Fitted by weighted least squares at Chebyshev nodes.
inline V erf(V z) {
  const V limit = set1(3.8f);
  z = vmax(vmin(z, limit), sub(set1(0.0f), limit));
  const V u = fma(mul(z, z), set1(static_cast<float>(2.0 / (3.8 * 3.8))), set1(-1.0f));
  V p = set1(-0.0023656797129660845f);
  p = fma(p, u, set1(0.005805706139653921f));
  p = fma(p, u, set1(-0.004315129481256008f));
  p = fma(p, u, set1(0.005424485541880131f));
  p = fma(p, u, set1(-0.017140496522188187f));
  p = fma(p, u, set1(0.029631946235895157f));
  p = fma(p, u, set1(-0.039605993777513504f));
  p = fma(p, u, set1(0.05408196523785591f));
  p = fma(p, u, set1(-0.07233648002147675f));
  p = fma(p, u, set1(0.09098567068576813f));
  p = fma(p, u, set1(-0.11120592057704926f));
  p = fma(p, u, set1(0.13773058354854584f));
  p = fma(p, u, set1(-0.18564055860042572f));
  p = fma(p, u, set1(0.37210771441459656f));
  const V one = set1(1.0f);
  return vmax(vmin(mul(p, z), one), set1(-1.0f));
}

// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016: x * Phi(x).
inline V gelu(V x) {
  const V half = mul(x, set1(0.5f));
  return fma(half, erf(mul(x, set1(0.70710678118654752f))), half);
}

// The same paper's approximation: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x / (1 + exp(-2 u)).
inline V gelu_tanh(V x) {
  const V u = mul(x, fma(mul(x, x), set1(0.044715f * 0.79788456080286536f), set1(0.79788456080286536f)));
  const V e = exp2_nonpositive(mul(vabs(u), set1(-2.0f * 1.4426950408889634f)));  // exp(-2|u|)
  const V one = set1(1.0f);
  const V positive = div(x, add(one, e));                                         // x sigmoid(2|u|)
  // for u < 0: x sigmoid(-2|u|) = x - x sigmoid(2|u|) would cancel, so x e / (1 + e)
  const V negative = mul(positive, e);
  const V zero = set1(0.0f);
  return add(vmax(positive, zero), vmin(negative, zero));
}

// x / (1 + exp(-beta x)) without overflow
inline V swish(V x, float beta) {
  const V e = exp2_nonpositive(mul(vabs(x), set1(-beta * 1.4426950408889634f)));
  const V positive = div(x, add(set1(1.0f), e));
  const V zero = set1(0.0f);
  return add(vmax(positive, zero), vmin(mul(positive, e), zero));
}

// max(0, x)^2 (So et al., "Primer", 2021). The maximum's second operand is the one that it gives for a NaN, which stays one.
inline V relu2(V x) {
  const V positive = vmax(set1(0.0f), x);
  return mul(positive, positive);
}

// Shazeer, "GLU Variants Improve Transformer", 2020; swiglu_oai is gpt-oss's clamped one.
inline V gated(Glu kind, V gate, V up) {
  switch (kind) {
    case Glu::silu: return mul(swish(gate, 1.0f), up);
    case Glu::gelu: return mul(gelu(gate), up);
    case Glu::gelu_tanh: return mul(gelu_tanh(gate), up);
    default: {
      const V limit = set1(7.0f);
      up = vmax(vmin(up, limit), set1(-7.0f));
      return mul(swish(vmin(gate, limit), 1.702f), add(up, set1(1.0f)));
    }
  }
}

}  // namespace
}  // namespace ownlm
