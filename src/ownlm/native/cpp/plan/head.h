// Logits by a 4-bit copy of the head, of which the leading ones are computed again with the head's own rows.
//
//   logits      all columns, with the copy: half the bytes of an 8-bit head; and of each stretch of columns, while it is in
//               cache, the largest and its part of the softmax's sum
//   candidates  of each row, which columns are worth it: at least kFewestCandidates, at most kMostCandidates
//   rescore     their logits, by the head's kernel over panels made of their rows: to the last bit what the head gives
//   exact head  of rows that ask for it (Batch::exact), all logits in that way
//
// sigma is the standard deviation of what the copy's rounding does to a logit of this row, sqrt(sum of (x spread)^2 over its
// inputs). A column is a candidate within kMarginSigmas sigma of the row's largest, so that the likeliest stays the likeliest;
// and where its probability p makes p sigma^2 / 2, its part of the divergence from the head's distribution, kWorth nats or
// more. Both are told from the row alone, so no row's result depends on its batch.
#pragma once
#include "linear.h"

namespace ownlm {

constexpr int64_t kFewestCandidates = 64, kMostCandidates = 4096;
constexpr float kMarginSigmas = 8.0f, kWorth = 2e-7f;

struct RescoredHead {
  const Packed* copy;    // Q4_0
  Packed exact;          // format, n and k of the head; no data
  const uint8_t* rows;   // as the checkpoint stores them
  const float* spread;   // [k], see coarse.h
  const float* bias;
  float scale;
};

// x: float rows; copied and records: the same in the terms of the copy and of the head. All of the wanted rows.
void push_rescored_head(Plan& plan, int x, int copied, int records, const RescoredHead& head);

}  // namespace ownlm
