// Logits by a 4-bit copy of the head, of which the leading ones are computed again with the head's own rows.
//
//   logits      all columns, with the copy: half the bytes of an 8-bit head
//   maxima      the largest of each stretch of columns, so that candidates are sought where they can be
//   candidates  of each row: every column within `margin` of its largest, at least kFewestCandidates, at most kMostCandidates
//   rescore     their logits, by the head's kernel over panels made of their rows: to the last bit what the head gives
//   exact head  of rows that ask for it (Batch::exact), all logits in that way
//
// The margin is kMarginSigmas standard deviations of what the copy's rounding does to a logit of this row:
// sqrt(sum over inputs of (x spread)^2). It is told from the row alone, so no row's result depends on its batch.
#pragma once
#include "linear.h"

namespace ownlm {

constexpr int64_t kFewestCandidates = 64, kMostCandidates = 2048;
constexpr float kMarginSigmas = 8.0f;

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
