"""What the native side would give if an operation forgot a feature: farther from transformers than its tests allow."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ownlm.model.ops.base import AttentionSpec
from ownlm.model.ops.native import NativeOps
from ownlm.native import plan

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import Forward, expected, folder, relative, text

WITHIN = 2e-3  # as in test_native_decoder


class Forgetful(NativeOps):
    """Attention without some of what its spec says."""

    def __init__(self, **values: Any) -> None:
        super().__init__(cache_format="f32")
        self.values = values

    def _spec(self, spec: AttentionSpec) -> AttentionSpec:
        return dataclasses.replace(spec, **self.values)

    def qkv_rope(self, x: Any, w: Any, spec: AttentionSpec, *rest: Any) -> Any:
        return super().qkv_rope(x, w, self._spec(spec), *rest)

    def cached_attention(self, q: Any, spec: AttentionSpec, *rest: Any) -> Any:
        return super().cached_attention(q, self._spec(spec), *rest)


def forgets(**values: Any) -> Callable[[], NativeOps]:
    return lambda: Forgetful(**values)


class WithoutOffset(NativeOps):
    def rms_norm(self, x: Any, w: plan.RMSNorm, residual: Any = None) -> Any:
        return super().rms_norm(x, dataclasses.replace(w, offset=0.0), residual)


class WithoutResidualScale(NativeOps):
    def linear(self, x: Any, w: Any, residual: Any = None, activation: Any = "", residual_scale: float = 1.0) -> Any:
        return super().linear(x, w, residual, activation)


class OtherGate(NativeOps):
    def glu_linear(self, x: Any, w: Any, activation: Any) -> Any:
        return super().glu_linear(x, w, "silu" if activation == "gelu_tanh" else "gelu_tanh")


class Uncapped(NativeOps):
    def logits(self, x: Any, head: Any, batch: Any, scale: float = 1.0, softcap: float | None = None) -> Any:
        return super().logits(x, head, batch, scale)


class OtherExperts(NativeOps):
    def moe(self, x: Any, w: Any, config: Any, residual: Any = None, residual_scale: float = 1.0) -> Any:
        changed = dataclasses.replace(config, normalize=False, softmax_of_chosen=False)
        return super().moe(x, w, changed, residual, residual_scale)


class OtherRows(NativeOps):
    """Value embeddings with something about them changed."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__(cache_format="f32")
        self.change = change

    def qkv_rope(self, x: Any, w: Any, spec: AttentionSpec, *rest: Any) -> Any:
        table = spec.value_table
        if table is not None:
            table = dataclasses.replace(table, values=self.change(table.values))
        return super().qkv_rope(x, w, dataclasses.replace(spec, value_table=table), *rest)


FAULTS: list[tuple[str, str, Callable[[], NativeOps]]] = [
    ("window", "mistral", forgets(window=None)),
    ("window of one more", "mistral", forgets(window=33)),
    ("softcap of scores", "gemma2", forgets(softcap=None)),
    ("sinks", "gpt_oss", forgets(sinks=None)),
    ("rotation", "llama", forgets(rope=None)),
    ("norm of each head", "qwen3", forgets(q_norm=None)),
    ("norm over the row", "olmo2", forgets(k_norm=None)),
    ("scale of attention", "granite", forgets(scale=0.25)),
    ("norm offset", "gemma3", WithoutOffset),
    ("scale of residuals", "granite", WithoutResidualScale),
    ("softcap of logits", "gemma2", Uncapped),
    ("gate", "gemma2", OtherGate),
    ("shares of chosen experts", "mixtral", OtherExperts),
    ("shares of all experts", "gpt_oss", OtherExperts),
    ("value embeddings", "ownlm", lambda: OtherRows(lambda rows: rows * 0)),
    ("the factor of their gate", "ownlm", lambda: OtherRows(lambda rows: rows / 2)),
    ("which head has which part", "ownlm", lambda: OtherRows(lambda rows: rows[:, ::-1].copy())),
]


@pytest.mark.parametrize(("feature", "family", "fault"), FAULTS, ids=[name for name, _, _ in FAULTS])
def test_a_forgotten_feature_shows(feature: str, family: str, fault: Callable[[], NativeOps]) -> None:
    found = Forward(folder(family), ops=fault()).run((0, text(1), 0))
    assert relative(found, expected(family, 1)) > 2 * WITHIN, feature
