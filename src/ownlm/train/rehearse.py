"""A few steps before the first one, to tell how long the run will take and how much memory; they change nothing."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch

from ownlm.train.forecast import Forecast, earlier_runs, foretell
from ownlm.train.losses import CHUNK
from ownlm.train.memory import TrainMemory, optimizer_state, saved_activations, weights_and_gradients
from ownlm.train.metrics import NAME as METRICS
from ownlm.train.metrics import read_history
from ownlm.train.peak import measured_peak

if TYPE_CHECKING:
    from ownlm.train.trainer import Trainer

WORTH = 50
"""Steps from which on a run is worth a rehearsal."""
STEPS = 3
"""Of which the first warms up."""
RECENT = 20
FORWARD = 1 / 3
"""Of the work of a step: a backward pass is two forwards."""
STACKED = 6
"""Muon's stacks of a shape: gradients, momenta, their mixture, and three of the iteration."""


def look_ahead(trainer: Trainer) -> dict[str, Any] | None:
    """The forecast as JSON; where there is one, the trainer knows its machine's peak from here on."""
    told = rehearse(trainer)
    if told is None:
        return None
    trainer.peak = trainer.world.sums({"peak": measured_peak(trainer.device, trainer.dtype)})["peak"]
    return told.to_json()


def rehearse(trainer: Trainer) -> Forecast | None:
    """What is to be expected of the steps that are left; None for a run too short for it to matter.

    A resumed run is told by the speed that it had. All processes call it.
    """
    recipe, schedule = trainer.recipe, trainer.recipe.schedule
    left = schedule.steps - trainer.step
    if left < WORTH:
        return None
    if trainer.step:
        history = read_history(trainer.out / METRICS).steps[-RECENT:]
        seconds, memory = [step["seconds"] for step in history if step.get("seconds")], None
    else:
        seconds, memory = _measured(trainer)
    typical = sorted(seconds)[len(seconds) // 2] if seconds else 0.0
    if schedule.minutes is not None and typical:
        left = min(left, max(1, round((60 * schedule.minutes - trainer.seconds) / typical)))
    tokens = recipe.batch * recipe.length
    whole = (trainer.step + left) * tokens
    tells = trainer.data.tokens_per_byte is not None and trainer.data.measured_on is not None
    fresh = not hasattr(recipe.model, "path")
    return foretell(
        step_seconds=seconds,
        steps=left,
        more_seconds=_measuring(trainer, left) * typical / tokens * FORWARD,
        memory=None if memory is None else memory.to_json(),
        resident=0 if trainer.device.type == "cuda" else trainer.memory() or 0,
        flops=whole * trainer.flops_per_token if tells and fresh else None,
        earlier=earlier_runs(trainer.out, trainer.data.measured_on) if tells and trainer.data.measured_on else (),
    )


def _measured(trainer: Trainer) -> tuple[list[float], TrainMemory]:
    """Seconds of steps whose learning rate is 0, and the memory they take; the optimizer forgets them."""
    found = []
    activations = 0
    with torch.random.fork_rng(devices=[trainer.device] if trainer.device.type == "cuda" else []):
        for number in range(STEPS):
            began = time.perf_counter()
            if number:
                trainer.gradients(trainer.step + number)
            else:
                with saved_activations(trainer.model) as saved:
                    trainer.gradients(trainer.step, parts=1)
                activations = saved.bytes
            trainer.optimizer.set_factor(0.0)
            trainer.optimizer.step()
            if trainer.device.type == "cuda":
                torch.cuda.synchronize(trainer.device)
            found.append(trainer.world.of_leader(time.perf_counter() - began))
            weights, gradients = weights_and_gradients(trainer.model)
            state = optimizer_state(trainer.optimizer.state_dict()["state"])
            trainer.optimizer.zero_grad(set_to_none=True)
    trainer.optimizer.state.clear()
    learnt = sum(part.numel() * 4 for part in trainer.model.parameters() if part.requires_grad)
    memory = TrainMemory(
        weights=weights,
        gradients=gradients,
        optimizer=state,
        average=0 if trainer.recipe.average is None else learnt // trainer.world.size,
        activations=activations,
        logits=2 * 4 * CHUNK[trainer.device.type] * int(trainer.model.config.vocab_size),
        update=_update(trainer),
    )
    return found[1:], memory


def _update(trainer: Trainer) -> int:
    """Bytes of the largest stack of matrices that Muon moves together."""
    stacks: dict[torch.Size, int] = defaultdict(int)
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"] if group["muon"] else ():
            stacks[parameter.shape] += 4 * parameter.numel()
    return STACKED * max(stacks.values(), default=0)


def _measuring(trainer: Trainer, left: int) -> int:
    """Tokens that will be read for validation."""
    if trainer.data.valid is None:
        return 0
    every = trainer.recipe.measure_every
    times = -(-left // every) if every else 1
    return times * min(trainer.recipe.measured_rows, len(trainer.data.valid)) * trainer.recipe.length
