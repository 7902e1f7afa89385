"""The one training loop: pretraining, tuning, distillation, rounding differ in their recipe alone."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ownlm.errors import Diverged, InvalidSetting, OtherRecipe
from ownlm.train import folder as folders
from ownlm.train.average import Average
from ownlm.train.decoder import Decoder
from ownlm.train.distributed import World, alone, joined, local, whole
from ownlm.train.forecast import off_by
from ownlm.train.hooks import Hook
from ownlm.train.losses import Loss, LossSum
from ownlm.train.measure import measure
from ownlm.train.memory import PeakMemory, most_memory
from ownlm.train.optim import Optimizer
from ownlm.train.peak import used
from ownlm.train.precision import chosen, multiplying
from ownlm.train.recipe import Base, Recipe
from ownlm.train.rehearse import look_ahead
from ownlm.train.rows import Feed
from ownlm.train.run_facts import RunFacts
from ownlm.train.state import FLAT, Checkpoints, State, restore, weights

MICRO_TOKENS = 8192
"""Tokens computed together where the recipe leaves it open: enough to keep a processor busy, little memory."""
WORSE = 1.0
"""Nats above the first loss at which the mean of the last steps counts as diverged."""
Sample = Callable[[Decoder], str]


class Trainer:
    """A run in the folder ``out``, new or resumed."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        hooks: Sequence[Hook] = (),
        sample: Sample | None = None,
        world: World | None = None,
    ) -> None:
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.world = world = world or alone()
        self.recipe, self.out, self.sample = recipe, out, sample
        self.hooks = list(hooks) if world.leads else []
        self.device = world.device
        if recipe.compile and self.device.type == "cpu":
            remedy = "on a CPU rows of documents have ever new shapes, each compiled for a minute; leave it out"
            raise InvalidSetting("compile", recipe.compile, remedy)
        with world.leader_first():  # it may fill the cache
            self.data = recipe.data.open(recipe.tokenizer, recipe.length, out / "data")
        micro = recipe.micro or max(1, MICRO_TOKENS // recipe.length)
        self.feed = Feed(self.data.train, recipe.batch, micro, recipe.seed, world.size, world.rank)
        self.memory = PeakMemory(world.device)  # of training, not of what made its data
        self.model = self._model()
        self.optimizer = Optimizer(self.model.named_parameters(), recipe.optimizer)
        self.checkpoints = Checkpoints(out / "checkpoints", recipe.keep, world)
        self.flops_per_token = self.model.flops_per_token(recipe.length)
        self.peak: float | None = None
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.average = Average(self.model, recipe.average, world)
        self.first_loss = math.nan
        self.rounded = False
        self._recent = deque[float](maxlen=20)
        resumed = self._resume()
        self.dtype = getattr(torch, resumed.dtype) if resumed else self._precision()
        self._compute: Loss = torch.compile(recipe.loss, dynamic=True) if recipe.compile else recipe.loss

    def _model(self) -> Decoder:
        recipe = self.recipe
        if isinstance(recipe.model, Base):
            model = Decoder.load(recipe.model.path, frozen=recipe.model.frozen, context=recipe.length)
        else:
            model = Decoder.fresh(recipe.model.config, recipe.seed)
        if recipe.tuning is not None:
            recipe.tuning.apply(model)
        model.recompute = recipe.recompute
        model.place(self.device)
        self.world.shard(model)
        return model

    def _precision(self) -> torch.dtype:
        halves = chosen(self.recipe.precision, self.device) == torch.bfloat16
        return torch.bfloat16 if self.world.of_leader(halves) else torch.float32

    def _resume(self) -> State | None:
        kept = self.checkpoints.list()
        if not kept:
            return None
        state = self.checkpoints.load(kept[-1], self.model, self.optimizer)
        if changed := self.recipe.changes(state.recipe):
            raise OtherRecipe(self.out, changed)
        flat = self.checkpoints.flat()
        old = state.recipe["schedule"]
        longer = (self.recipe.schedule.steps, self.recipe.schedule.minutes) != (old["steps"], old["minutes"])
        if longer and flat is not None and self.recipe.schedule.is_flat(state.step, state.seconds):
            state = self.checkpoints.load(flat, self.model, self.optimizer)
        restore(self.model, state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.step, self.seconds, self.tokens = state.step, state.seconds, state.tokens
        self.average.values, self.first_loss = state.average, state.first_loss
        return state

    def facts(self, **more: Any) -> RunFacts:
        """What is known before the first step."""
        recipe = self.recipe
        return RunFacts(
            name=recipe.name,
            out=self.out,
            steps=recipe.schedule.steps,
            minutes=recipe.schedule.minutes,
            measured_on=self.data.measured_on,
            peak_flops=self.peak,
            tokens_per_step=recipe.batch * recipe.length,
            parameters=self.model.count(),
            flops_per_token=self.flops_per_token,
            recipe=recipe.to_json(),
            first_step=self.step,
            device=self.device.type,
            processes=self.world.size,
            precision=str(self.dtype).removeprefix("torch."),
            **more,
        )

    def gradients(self, step: int, parts: int | None = None) -> dict[str, float]:
        """Compute those of a step (or of its first ``parts``); the means of its loss and metrics, its count and tokens.

        Gradients of sums are added up and divided by the whole step's count: however a step is split, it is the same.
        """
        batches = self.feed.batches(step)[:parts]
        sums: dict[str, float] = {"loss": 0.0, "count": 0, "tokens": 0}
        for part, batch in enumerate(batches, 1):
            self.world.sync_gradients(self.model, part == len(batches))
            with multiplying(self.device, self.dtype):
                found: LossSum = self._compute(self.model, batch.to(self.device))
            found.sum.backward()  # type: ignore[no-untyped-call]
            told = {"loss": found.sum.item(), "count": found.count, "tokens": len(batch.ids), **found.metrics}
            for name, value in told.items():
                sums[name] = sums.get(name, 0) + value
        sums = self.world.sums(sums)
        count = max(1, sums["count"])
        gradients = [local(parameter.grad) for parameter in self.model.parameters() if parameter.grad is not None]
        torch._foreach_div_(gradients, count / self.world.size)  # several processes give their mean
        return {name: value if name in ("count", "tokens") else value / count for name, value in sums.items()}

    def one_step(self) -> dict[str, Any]:
        """Compute and apply the next update; its metrics."""
        recipe, began, before = self.recipe, time.perf_counter(), self.tokens
        self._round_when_due()
        factor = recipe.schedule.factor(self.step, self.seconds)
        means = self.gradients(self.step)
        norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optimizer.clip)).item()
        self._check(means["loss"], norm)
        self.optimizer.set_factor(factor)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.follow(self.step)
        self.step += 1
        self.tokens += int(means.pop("tokens"))
        taken = self.world.of_leader(time.perf_counter() - began)
        self.seconds += taken
        speed = (self.tokens - before) / taken
        means.pop("count")
        return {
            "step": self.step,
            "loss": means.pop("loss"),
            "lr": factor,
            "grad_norm": norm,
            "tokens": self.tokens,
            "seconds": taken,
            "elapsed": self.seconds,
            "tokens_per_second": speed,
            "mfu": used(speed, self.flops_per_token, self.peak),
            **means,
        }

    def run(self) -> dict[str, Any]:
        """Every step that is left, then the model's folder; the result (see ``hooks``)."""
        with folders.held(self.out) if self.world.leads else contextlib.nullcontext():
            return self._run()

    def _run(self) -> dict[str, Any]:
        recipe, schedule = self.recipe, self.recipe.schedule
        told = look_ahead(self)
        facts = self.facts(forecast=told)
        began = time.perf_counter()
        for hook in self.hooks:
            hook.on_start(facts)
        metrics: dict[str, Any] = {}
        stopped: str | None = None
        try:
            while schedule.progress(self.step, self.seconds) < 1:
                flat = schedule.is_flat(self.step, self.seconds)
                metrics = self.one_step()
                last = schedule.progress(self.step, self.seconds) >= 1
                if last or (recipe.measure_every and self.step % recipe.measure_every == 0):
                    metrics |= measure(self)
                    if self.sample is not None:
                        with self.averaged():
                            metrics["sample"] = self.sample(self.model)
                for hook in self.hooks:
                    hook.on_step(metrics)
                if flat and not schedule.is_flat(self.step, self.seconds) and schedule.decay:
                    self.checkpoints.save(self.state(), FLAT)
                if last or (recipe.save_every and self.step % recipe.save_every == 0):
                    self.checkpoints.save(self.state())
            self.write(self.out / "model")
        except BaseException as error:
            stopped = type(error).__name__ if isinstance(error, KeyboardInterrupt) else str(error)
            raise
        finally:
            result = {
                "steps": self.step,
                "tokens": self.tokens,
                "seconds": self.seconds,
                "loss": metrics.get("loss"),
                "valid_bits_per_byte": metrics.get("valid_bits_per_byte"),
                "peak_memory": most_memory(self.device),
                "stopped": stopped,
            }
            if told is not None and stopped is None:
                actual = {"seconds": time.perf_counter() - began, "memory": self.memory()}
                result["forecast"] = off_by(told, actual | {"bits_per_byte": metrics.get("valid_bits_per_byte")})
            for hook in self.hooks:
                hook.on_end(result)
        return result

    def write(self, target: Path) -> None:
        """The model as a folder that everything else reads."""
        with self.averaged(), self.world.gathered(self.model):
            if self.world.leads:
                folders.write(self.model, target, self.recipe)
        self.world.wait()

    def state(self) -> State:
        """Everything that the next step depends on."""
        return State(
            step=self.step,
            seconds=self.seconds,
            tokens=self.tokens,
            recipe=self.recipe.to_json(),
            model=weights(self.model),
            optimizer=self.optimizer.state_dict(),
            average=self.average.values,
            first_loss=self.first_loss,
            dtype=str(self.dtype).removeprefix("torch."),
        )

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Within, the model has the averaged weights, if there are such."""
        return self.average.in_place()

    def _round_when_due(self) -> None:
        rounding = self.recipe.quantization
        if rounding is None or self.rounded:
            return
        if self.recipe.schedule.progress(self.step, self.seconds) >= 1 - rounding.share:
            rounding.apply(self.model)
            self.rounded = True

    def _check(self, loss: float, norm: float) -> None:
        if math.isnan(self.first_loss):
            self.first_loss = loss
        self._recent.append(loss)
        lost = not math.isfinite(loss) or not math.isfinite(norm)
        full = len(self._recent) == self._recent.maxlen
        if lost or (full and sum(self._recent) / len(self._recent) > self.first_loss + WORSE):
            kept = self.checkpoints.list()
            raise Diverged(self.step, loss if math.isfinite(norm) else math.nan, kept[-1] if kept else None)


def train(recipe: Recipe, out: Path, *, hooks: Sequence[Hook] = (), sample: Sample | None = None) -> dict[str, Any]:
    """Run a recipe in a folder, or go on with the run that is there. Returns the result (see ``hooks``).

    Raises InvalidSetting, InvalidData, OtherRecipe, Diverged, DiskFull; checkpoints written before are kept.
    """
    with joined() as world:
        return Trainer(recipe, out, hooks=hooks, sample=sample, world=world).run()
