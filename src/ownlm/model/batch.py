"""What a step of a decoder is given: new tokens of some sequences, and where their keys and values lie.

Sequences lie one after the other, without padding. Of each, some tokens are in the cache already and some are new;
the new ones are written to the cache, then each attends to all tokens of its sequence up to itself. With blocks of 4:

    sequence         A (6 in the cache, 1 new)      B (nothing in the cache, 3 new)
    ids              a6                             b0 b1 b2
    positions        6                              0  1  2
    cu_seqlens       0                              1           4
    lengths          7                              3
    block_tables     5 2                            7 0         (padded with 0)
    slots            2*4+2                          7*4+0 7*4+1 7*4+2
    rows             0                                    3     (whose logits are wanted)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]


@dataclass(slots=True)
class Batch:
    """All int32 and C-contiguous; T new tokens, S sequences, B blocks of the longest, R rows of logits."""

    ids: Int32  # [T]
    positions: Int32  # [T]
    cu_seqlens: Int32  # [S + 1] where each sequence's new tokens begin, 0 .. T
    lengths: Int32  # [S] tokens in the cache after this step
    block_tables: Int32  # [S, B]
    slots: Int32  # [T] block * block_size + offset, of each new token
    rows: Int32  # [R] indices into the new tokens
    exact: NDArray[np.uint8] | None = (
        None  # [R] rows of which every logit has to be exact; None: the leading ones will do
    )
