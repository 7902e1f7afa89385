"""A training run's end: is the model in the folder, as it is served, the one that is still in the trainer's memory?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ownlm.errors import ParityBroken
from ownlm.model.opened import Ids, Logits
from ownlm.model.safetensors import Tensor
from ownlm.publish.parity import gate
from ownlm.publish.report import Report
from ownlm.publish.side import Trained
from ownlm.quant.quantize import quantized
from ownlm.quant.receipt import TOKENS

if TYPE_CHECKING:
    from ownlm.train.decoder import Decoder
    from ownlm.train.rows import Rows
    from ownlm.train.trainer import Trainer

ASIDE = "model.unpublished"


def of_decoder(model: Decoder, folder: Path, *, to: str | None = None) -> Trained:
    """A decoder in training as the gate's reference, adapters and all. ``folder`` has the tokenizer's files that it was
    trained with. ``to``: the format that its weights were rounded to at every use ("q4_0", after quantization-aware
    training), if it is what was quantized that is to be compared; else the weights are taken as they are."""

    def tensors() -> Mapping[str, Tensor]:
        from ownlm.train.merge import merged

        with _as_stored(model):
            found = merged(model)
        return found if to is None else {name: quantized(tensor, to) for name, tensor in found.items()}

    def logits(ids: Ids) -> Logits:
        import torch

        from ownlm.train.batch import IGNORED, Row, collate

        row = Row(ids.astype(np.int64), np.full(len(ids), IGNORED, np.int64))
        with torch.no_grad():
            found: Logits = model(collate([row]).to(model.device)).logits().cpu().numpy()
        return found

    def as_stored(ids: Ids) -> Logits:
        with _as_stored(model):
            return logits(ids)

    raw = {name: value for name, value in model.raw.items() if name != "quantization_config"}
    return Trained(folder=folder, config=raw, logits=logits if to else as_stored, tensors=tensors)


def judge(trainer: Trainer) -> Report | None:
    """The gate at the end of a run, over rows that were held out. A model that does not pass is moved aside.

    Of several processes the leading one judges, and the others get None.
    """
    made = trainer.out / "model"
    try:
        if not trainer.world.leads:
            return None
        if trainer.world.size > 1:  # each process has a part: what was written is read back
            return gate(made, made, step="train", rows=held_out(trainer.data.valid))
        with trainer.averaged():
            source = trainer.recipe.tokenizer
            reference = of_decoder(trainer.model, source if source.is_dir() else made)
            step = "train" if trainer.recipe.tuning is None else "merge"
            return gate(reference, made, step=step, rows=held_out(trainer.data.valid))
    except ParityBroken:
        made.replace(_free(trainer.out / ASIDE))
        raise


def held_out(rows: Rows | None) -> list[list[int]] | None:
    """The sequences of the first rows, as many tokens as are compared; None if there are none."""
    found: list[list[int]] = []
    count = 0
    for index in range(0 if rows is None else len(rows)):
        assert rows is not None
        row = rows[index]
        for start, end in zip(row.starts, (*row.starts[1:], len(row.ids)), strict=True):
            if end - start > 1:
                found.append(row.ids[start:end].tolist())
                count += end - start
        if count >= TOKENS:
            break
    return found or None


@contextmanager
def _as_stored(model: Decoder) -> Iterator[None]:
    """Within, weights are what a run writes: as they are, whatever they are rounded to in training. Only the sum of a
    base and its adapter is written as it was rounded."""
    from ownlm.train.modules import Projection

    parts = [part for part in model.modules() if isinstance(part, Projection)]
    kept = [part.rounding for part in parts]
    for part in parts:
        part.rounding = None
    try:
        yield
    finally:
        for part, rounding in zip(parts, kept, strict=True):
            part.rounding = rounding


def _free(path: Path) -> Path:
    """The name, or the next one with a number behind it that is not taken."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
