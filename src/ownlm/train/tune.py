"""A recipe for a model and a file of examples, with everything that was not said worked out from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from ownlm.errors import CorruptModel, InvalidData, InvalidSetting, UnsupportedModel
from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.tokenizer import Tokenizer
from ownlm.train.chat_data import Chats
from ownlm.train.chat_rows import TooLong
from ownlm.train.dpo import Dpo
from ownlm.train.jsonl import objects
from ownlm.train.lora import AdapterSettings
from ownlm.train.losses import Loss, cross_entropy
from ownlm.train.merge import Adapters
from ownlm.train.optim import OptimizerSettings
from ownlm.train.preference_data import Preferences
from ownlm.train.qat import QuantizationAware
from ownlm.train.recipe import Base, Data, Precision, Recipe
from ownlm.train.schedule import Schedule

Method = Literal["lora", "dora", "qlora", "full"]
METHODS: tuple[str, ...] = get_args(Method)
LENGTH = 1024
RANK = 16
STEP_TOKENS = 16_384
"""Of a step, where there are enough examples."""
STEPS = 50
"""At least so many, before a step takes more examples."""
EPOCHS = {"answers": 3.0, "preferences": 1.0}
_RATE, _WIDTH, _HIGHEST = 2e-5, 2048, 3e-4
_ADAPTERS, _PREFERENCES = 10.0, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What may be said; None is worked out. ``length``: tokens of a row; ``rate``: the peak learning rate; ``batch``:
    rows a step; ``held_out``: the share of the examples to measure by where ``valid`` gives no files; ``rank``: of
    adapters (16); ``beta``: of DPO (0.1)."""

    method: str = "lora"
    valid: tuple[Path, ...] = ()
    held_out: float | None = None
    length: int | None = None
    too_long: TooLong = "refuse"
    epochs: float | None = None
    rate: float | None = None
    batch: int | None = None
    rank: int | None = None
    beta: float | None = None
    qat: str | None = None
    seed: int = 0


def tuning(model: Path, files: tuple[Path, ...], name: str, cache: Path, wishes: Wishes) -> Recipe:
    """The recipe. ``cache`` is the folder for rendered examples: the run's ``data``. ``model`` is a model's folder.

    Adapters are trained over the weights as they are stored. Lines with ``chosen`` and ``rejected`` are learnt by
    preference (DPO), others as conversations. Raises InvalidSetting, InvalidData and what the model's folder raises.
    """
    _check(model, wishes)
    config = decoder_config(checkpoint.raw_config(model), model)
    tokens = Tokenizer.load(model).vocab_size
    if tokens > config.vocab_size:
        raise CorruptModel(
            f"{model}: the tokenizer has {tokens} ids, the model {config.vocab_size}: get its files again"
        )
    longest = config.max_position_embeddings
    length = wishes.length or min(LENGTH, longest)
    if length > longest:
        raise InvalidSetting("--length", length, f"the model's context holds {longest}")
    pairs = is_preference(files[0])
    adapters = wishes.method != "full"
    if not adapters and wishes.rank is not None:
        raise InvalidSetting("--rank", wishes.rank, "method full has no adapters: drop it, or give another method")
    if not pairs and wishes.beta is not None:
        raise InvalidSetting("--beta", wishes.beta, "it is for pairs of answers, and these are conversations: drop it")
    precision: Precision = "auto"
    if pairs and not adapters:  # in which the reference is computed too
        precision = "bfloat16" if torch.cuda.is_available() else "float32"
    data = _data(files, pairs, "" if precision == "auto" else precision, wishes)
    rows = len(data.open(model, length, cache).train)
    epochs = wishes.epochs or EPOCHS["preferences" if pairs else "answers"]
    batch = wishes.batch or max(1, min(STEP_TOKENS // length, int(rows * epochs) // STEPS))
    steps = max(1, math.ceil(rows * epochs / batch))
    rate = wishes.rate or rate_for(config.hidden_size, adapters=adapters, pairs=pairs)
    loss: Loss = Dpo(0.1 if wishes.beta is None else wishes.beta) if pairs else cross_entropy
    rank = wishes.rank or RANK
    settings = AdapterSettings(rank, 2.0 * rank, dora=wishes.method == "dora", seed=wishes.seed)
    return Recipe(
        name=name,
        model=Base(model, frozen=adapters),
        data=data,
        optimizer=OptimizerSettings.adamw(rate),
        schedule=Schedule(steps=steps, warmup=steps // 20, decay=0.8),
        batch=batch,
        length=length,
        loss=loss,
        tuning=Adapters(settings, base=str(model)) if adapters else None,
        precision=precision,
        quantization=QuantizationAware(wishes.qat, 0.3) if wishes.qat else None,
        seed=wishes.seed,
        notes={"method": wishes.method, "epochs": epochs, "rows": rows},
    )


def rate_for(width: int, *, adapters: bool, pairs: bool) -> float:
    """A peak learning rate: wide models take smaller steps, adapters larger ones, preferences smaller ones.

    >>> rate_for(2048, adapters=True, pairs=False), rate_for(4096, adapters=False, pairs=False)
    (0.0002, 1e-05)
    """
    rate = min(_HIGHEST, _RATE * _WIDTH / width)
    return rate * (_ADAPTERS if adapters else 1) * (_PREFERENCES if pairs else 1)


def is_preference(path: Path) -> bool:
    """Whether the file's first line is a pair of answers. Raises InvalidData for a file without lines."""
    for line in objects(path):
        return bool(line.value.keys() & {"chosen", "preferred_output"})
    raise InvalidData(path, "has no line", "give conversations or pairs of answers as JSON lines")


def _data(files: tuple[Path, ...], pairs: bool, reference: Literal["", "float32", "bfloat16"], wishes: Wishes) -> Data:
    share = wishes.held_out if wishes.held_out is not None else (0.0 if wishes.valid else 0.05)
    if pairs:
        return Preferences(files, wishes.valid, share, wishes.too_long, reference)
    return Chats(files, wishes.valid, share, wishes.too_long)


def _check(model: Path, wishes: Wishes) -> None:
    if wishes.method not in METHODS:
        raise InvalidSetting("--method", wishes.method, f"give one of {', '.join(METHODS)}")
    if not model.is_dir():
        raise UnsupportedModel(f"{model} is a GGUF file: give the model folder that it was made of")
    counts: dict[str, Any] = {"--length": wishes.length, "--epochs": wishes.epochs, "--batch": wishes.batch}
    counts |= {"--rate": wishes.rate, "--rank": wishes.rank}
    for setting, value in counts.items():
        if value is not None and not 0 < value < math.inf:
            raise InvalidSetting(setting, value, "give a number above 0")
