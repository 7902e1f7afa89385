// Every instruction set that this processor has against the portable one, without Python: for processors that are emulated
// (.ci/kernels), where the tests in Python do not run. Prints a line a check; the exit status says whether all hold.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cpu.h"
#include "drivers.h"
#include "plan/linear.h"
#include "plan/select.h"
#include "plan/steps.h"
#include "pool.h"

using namespace ownlm;

namespace {

std::mt19937 random_bits(7);
int failures = 0;

std::vector<float> normal(int64_t count, float spread = 1.0f) {
  std::normal_distribution<float> draw(0.0f, spread);
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) v = draw(random_bits);
  return x;
}

// A matrix as a checkpoint stores it, entries of about unit length by row.
std::vector<uint8_t> stored(Format f, int64_t rows, int64_t k) {
  std::vector<uint8_t> bytes(static_cast<size_t>(rows * stored_row_bytes(f, k)));
  if (f == Format::f32 || f == Format::bf16) {
    const std::vector<float> x = normal(rows * k, 1.0f / std::sqrt(static_cast<float>(k)));
    for (size_t i = 0; i < x.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, &x[i], 4);
      const uint16_t half = static_cast<uint16_t>(bits >> 16);
      if (f == Format::f32) std::memcpy(bytes.data() + 4 * i, &bits, 4);
      else std::memcpy(bytes.data() + 2 * i, &half, 2);
    }
    return bytes;
  }
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random_bits());
  const size_t block = f == Format::q8_0 ? 34 : 18;
  for (size_t at = 0; at < bytes.size(); at += block) {
    const uint16_t scale = f == Format::q8_0 ? 0x0c00 : 0x1c00;  // 2^-12, 2^-8 in half precision
    std::memcpy(bytes.data() + at, &scale, 2);
  }
  return bytes;
}

void compare(const std::string& what, const std::vector<float>& found, const std::vector<float>& expected, float within) {
  float error = 0, scale = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    error = std::max(error, std::isfinite(found[i]) ? std::fabs(found[i] - expected[i]) : INFINITY);
    scale = std::max(scale, std::fabs(expected[i]));
  }
  const bool holds = error <= within * scale && scale > 0;
  failures += !holds;
  std::printf("%-52s %.1e %s\n", what.c_str(), static_cast<double>(error / scale), holds ? "" : "FAILS");
}

// One layer of a decoder and its logits, over two sequences.
struct Tiny {
  static constexpr int64_t kWidth = 64, kHeads = 6, kKvHeads = 2, kHeadDim = 32, kInner = 96, kVocabulary = 50, kTokens = 40;
  Weight qkv, output, gate_up, down, head;
  std::vector<float> table = normal(kTokens * kWidth), ones = std::vector<float>(kWidth, 1.0f), frequencies = normal(kHeadDim / 2, 0.3f);

  explicit Tiny(Format f)
      : qkv(make(f, (kHeads + 2 * kKvHeads) * kHeadDim, kWidth)), output(make(f, kWidth, kHeads * kHeadDim)), gate_up(gated(f)),
        down(make(f, kWidth, kInner)), head(make(f, kVocabulary, kWidth)) {}

  static Weight make(Format f, int64_t rows, int64_t k) {
    const std::vector<uint8_t> bytes = stored(f, rows, k);
    return pack(f, {Stored{bytes.data(), rows}}, k);
  }
  static Weight gated(Format f) {
    const std::vector<uint8_t> gate = stored(f, kInner, kWidth), up = stored(f, kInner, kWidth);
    return pack_glu(f, Stored{gate.data(), kInner}, Stored{up.data(), kInner}, kWidth);
  }

  int records(Plan& plan, int x, Rows rows, const Packed& w) const {
    if (!converts(w.format)) return x;
    const int to = plan.add(rows, record_bytes(w));
    plan.push(make_convert(x, rows, 1, w, to));
    return to;
  }
  int linear(Plan& plan, int x, const Weight& w, int residual, Glu glu = Glu::none) const {
    LinearArguments l;
    l.w = &w.packed;
    l.residual = residual;
    l.glu = glu;
    const int to = plan.add(Rows::tokens, outputs(w.packed) * 4);
    plan.push(make_linear(records(plan, x, Rows::tokens, w.packed), Rows::tokens, l, to));
    return to;
  }

  std::vector<float> run(KvFormat kv, int64_t window, float softcap) const {
    KVCache cache(1, 4, 32, kKvHeads, kHeadDim, kv);
    Plan plan;
    const Norm norm{ones.data(), nullptr, 1e-6f, 0.0f};
    const Attend attend{kHeads, kKvHeads, kHeadDim, window, 0.17f, softcap, nullptr, &cache, 0};
    const auto floats_of = [&](Rows rows, int64_t width) { return plan.add(rows, width * 4); };
    int x = floats_of(Rows::tokens, kWidth);
    plan.push(make_embed({{Source::ids, Lookup::Format::f32, reinterpret_cast<const uint8_t*>(table.data()), kTokens}}, kWidth, 1.0f, x));
    const int angles = floats_of(Rows::tokens, kHeadDim), normed = floats_of(Rows::tokens, kWidth);
    plan.push(make_angles(frequencies.data(), kHeadDim / 2, 1.0f, angles));
    plan.push(make_norm(x, Rows::tokens, kWidth, norm, -1, normed));
    const int q = linear(plan, normed, qkv, -1);
    plan.push(make_rope_store(q, angles, kHeadDim / 2, attend, {}));
    const int mixed = floats_of(Rows::tokens, kHeads * kHeadDim);
    push_attention(plan, q, attend, mixed);
    x = linear(plan, mixed, output, x);
    x = linear(plan, linear(plan, x, gate_up, -1, Glu::silu), down, x);
    const int rows = floats_of(Rows::wanted, kWidth);
    plan.push(make_gather(x, kWidth, rows));
    LinearArguments l;
    l.w = &head.packed;
    plan.push(make_linear(records(plan, rows, Rows::wanted, head.packed), Rows::wanted, l, -1));
    plan.finish();
    // sequences of 33 and 7 tokens; blocks of 32 in no order
    std::vector<int32_t> ids, positions, slots, all, starts{0, 33, kTokens}, lengths{33, 7}, tables{2, 0, 3, 0};
    for (int32_t t = 0; t < kTokens; ++t) {
      const int32_t s = t >= 33, at = s ? t - 33 : t;
      ids.push_back(t);
      positions.push_back(at);
      slots.push_back(tables[static_cast<size_t>(2 * s + at / 32)] * 32 + at % 32);
      all.push_back(t);
    }
    std::vector<float> out(static_cast<size_t>(kTokens * kVocabulary));
    plan.run({kTokens, 2, kTokens, 2, ids.data(), positions.data(), starts.data(), lengths.data(), tables.data(), slots.data(), all.data(), nullptr, 0, out.data()});
    return out;
  }
};

struct KeyValues {
  const char* name;
  KvFormat format;
};

}  // namespace

int main() {
  pool::set_threads(2);
  const std::vector<const Kernels*> all = usable_kernels();
  const char* names[] = {"f32", "bf16", "q8_0", "q4_0"};
  const Format formats[] = {Format::f32, Format::bf16, Format::q8_0, Format::q4_0};
  for (int f = 0; f < 4; ++f) {
    const Tiny tiny(formats[f]);
    for (const KeyValues& kv : {KeyValues{"f32", KvFormat::f32}, {"bf16", KvFormat::bf16}, {"int8", KvFormat::int8}, {"int4", KvFormat::int4}}) {
      for (const bool narrow : {false, true}) {
        std::vector<float> expected;
        for (const Kernels* k : all) {
          use_kernels(k->name);
          const std::vector<float> found = tiny.run(kv.format, narrow ? 9 : 0, narrow ? 4.0f : 0.0f);
          if (expected.empty()) expected = found;
          // rounded inputs: a last bit of a float may round the other way
          compare(std::string(k->name) + ": " + names[f] + ", cache " + kv.name + (narrow ? ", window and softcap" : ""), found, expected,
                  formats[f] == Format::f32 && kv.format == KvFormat::f32 ? 1e-5f : 2e-2f);
        }
      }
    }
  }
  const std::vector<float> logits = normal(3 * 1003);
  for (const Kernels* k : all) {
    use_kernels(k->name);
    int32_t best[3], ids[15];
    float values[15];
    argmax(logits.data(), 3, 1003, best);
    top_k(logits.data(), 3, 1003, 5, ids, values);
    for (int r = 0; r < 3; ++r) {
      const float* row = logits.data() + r * 1003;
      const bool holds = best[r] == std::max_element(row, row + 1003) - row && ids[5 * r] == best[r] && std::is_sorted(values + 5 * r, values + 5 * r + 5, std::greater<float>());
      failures += !holds;
      std::printf("%s: largest of row %d %s\n", k->name, r, holds ? "" : "FAILS");
    }
  }
  std::printf("%d failures, instruction sets:", failures);
  for (const Kernels* k : all) std::printf(" %s", k->name);
  std::printf("\n");
  return failures != 0;
}
