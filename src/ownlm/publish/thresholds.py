"""How far a step may move a model's answers before it is not published.

Each step is judged by what it may change. The reference is computed in float32 by torch where that is installed, the
candidate by the kernels that serve, so a limit holds the arithmetic of serving too: keys and values in bfloat16, and
activations in 8 bits against quantized weights.

| limits      | steps                         | mean KL | 99.9 % KL | same top 1 |
|-------------|-------------------------------|---------|-----------|------------|
| exact       | train, merge, export          | 0.002   | 0.1       | 0.97       |
| 16 bits     | f32, f16, bf16                | 0.01    | 0.3       | 0.93       |
| 8 bits      | q8_0, and exact over blocks   | 0.05    | 1         | 0.85       |
| 5-6 bits    | q5_0, q5_1, q5_k, q6_k        | 0.15    | 3         | 0.6        |
| 4 bits      | q4_0, q4_1, q4_k, mxfp4       | 0.5     | 8         | 0.4        |

Why these. Two kinds of models were measured: one of 4.7 million weights early in its training, and random ones of
every family, whose answers hang on every bit, so that they are the worst case (mean KL; 99.9 %; same top 1):

| limits   | trained                  | random, dense                                |
|----------|--------------------------|----------------------------------------------|
| exact    | 7e-7; 1e-5; 0.999        | 1e-5 to 1e-4; 8e-5 to 0.002; 0.983 or more   |
| 16 bits  | 9e-6; 6e-5; 0.997        | 1e-4; 7e-4; 0.98                             |
| 8 bits   | 1e-4; 6e-4; 0.989        | 8e-4 to 0.004; 0.004 to 0.1; 0.92 or more    |
| 5-6 bits | 0.002; 0.013; 0.969      |                                              |
| 4 bits   | 0.009; 0.05; 0.91        | 0.07 to 0.29; 0.4 to 3; 0.46 or more         |

So a limit is ten or more times what a sound step costs a trained model, and above what it costs the worst one here.
Over blocks serving rounds activations to 8 bits, hence "exact over blocks". A KL of 0.5 is a perplexity of 1.6 times: a
model that loses this much in 4 bits should be published in a larger format.

With quantized formats the limits only say where a cost no longer looks like rounding; that every block is what
rounding makes of the weights is checked block by block (``weights``), and what it costs is the receipt's to say.
A mixture of experts is allowed five times the mean and fifty times the tail: where two experts are nearly tied, the
last bit decides which of them answers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ownlm.errors import InvalidSetting
from ownlm.formats import FORMATS

KEEPING = ("train", "merge", "export")
"""Steps that change no weight."""
PLAIN = ("f32", "f16", "bf16")
_MIXTURE_MEAN, _MIXTURE_TAIL = 5.0, 50.0


@dataclass(frozen=True, slots=True)
class Limits:
    """``mean_kl`` and ``kl_999`` at most, in nats a token; ``top1_agreement`` at least."""

    kind: str
    mean_kl: float
    kl_999: float
    top1_agreement: float


_EXACT = Limits("exact", 0.002, 0.1, 0.97)
_SIXTEEN = Limits("16 bits", 0.01, 0.3, 0.93)
_EIGHT = Limits("8 bits", 0.05, 1.0, 0.85)
_SIX = Limits("5-6 bits", 0.15, 3.0, 0.6)
_FOUR = Limits("4 bits", 0.5, 8.0, 0.4)


def limits(step: str, *, mixture: bool = False, blocks: bool = False) -> Limits:
    """Of a step: one of ``KEEPING``, or the type that it rounds weights to. InvalidSetting for another.

    ``blocks``: the reference is quantized, ``mixture``: it has experts.
    """
    found = _of(step)
    if blocks and found == _EXACT:
        found = dataclasses.replace(_EIGHT, kind="exact, over blocks")
    if not mixture:
        return found
    mean, tail = found.mean_kl * _MIXTURE_MEAN, found.kl_999 * _MIXTURE_TAIL
    return Limits(f"{found.kind}, mixture of experts", mean, tail, found.top1_agreement - 0.05)


def _of(step: str) -> Limits:
    if step in KEEPING:
        return _EXACT
    if step in PLAIN:
        return _SIXTEEN
    if step not in FORMATS:
        raise InvalidSetting("step", step, f"give one of {', '.join((*KEEPING, *PLAIN, *FORMATS))}")
    bits = FORMATS[step].bits
    return _EIGHT if bits > 8 else _SIX if bits >= 5.5 else _FOUR
