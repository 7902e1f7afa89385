"""The model that ships with OwnLM, from nothing: corpus, pretraining, tuning, four bits, figures, card.

    python recipes/starter.py --data FOLDER --budget 90

Every stage leaves a folder below ``--out`` and is not done twice; a run that was stopped, however it was stopped, goes
on where it was when the same command is given again. ``--until`` ends after a stage, to run them one by one:

    corpus     OUT/text, OUT/shards     open texts, a tokenizer, token shards
    data       OUT/tuning               conversations for tuning
    pretrain   OUT/pretrained           by the clock: three quarters of the budget
    tune       OUT/tuned                by the clock: the rest; its end with weights rounded to four bits
    pack       OUT/NAME                 four bits, the receipt and the parity report
    figures    OUT/NAME/evals.json      the development sets, and safety
    card       OUT/NAME/README.md       NOTICE and SHA256SUMS with it

``OUT/NAME`` is what ships: copy it to ``src/ownlm/weights``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import starter_card
import starter_corpus
import starter_pack
import starter_tuning
from starter_plan import Plan, plan_for, pretraining, tuning
from starter_train import trained

from ownlm.cli import main as ownlm
from ownlm.cli.output import note
from ownlm.evals.results import read, results_path
from ownlm.publish.runs import judge
from ownlm.train.recipe import Recipe


@dataclass(frozen=True)
class Work:
    """What all stages share."""

    plan: Plan
    data: Path
    out: Path

    @property
    def model(self) -> Path:
        """The folder that ships."""
        return self.out / self.plan.name


def corpus(work: Work) -> None:
    """Texts and token shards."""
    size = work.plan.size
    table = starter_corpus.gather(work.data, work.out, size)
    made = starter_corpus.shards(work.out, size, table)
    note(f"corpus: {made.tokens('train'):,} tokens of {made.bytes('train') / made.tokens('train'):.2f} bytes")


def conversations(work: Work) -> None:
    """The tuning data."""
    starter_tuning.gather(work.data, work.out, large=work.plan.size == "large")


def pretrain(work: Work) -> None:
    """From nothing."""
    _train(pretraining(work.plan, work.out), work.out / "pretrained")


def tune(work: Work) -> None:
    """From the pretrained model."""
    _train(tuning(work.plan, work.out), work.out / "tuned")


def pack(work: Work) -> None:
    """Four bits."""
    starter_pack.pack(work.plan, work.out)


def figures(work: Work) -> None:
    """What `ownlm eval starter` and `ownlm eval safety` say; written into the folder's evals.json."""
    have = read(results_path(work.model))
    commands = {
        "tasks": ["eval", "starter", "--model", str(work.model), "--data", str(work.data)],
        "safety": ["eval", "safety", "--model", str(work.model), "--corpus", str(work.out / "text")],
    }
    for section, words in commands.items():
        if section not in have and (code := ownlm(words)):
            raise SystemExit(code)


def card(work: Work) -> None:
    """README.md, NOTICE, SHA256SUMS."""
    starter_card.write(work.model)
    note(f"{work.model} is complete: copy it to src/ownlm/weights, and there it ships")


def _train(recipe: Recipe, out: Path) -> None:
    """To its end; then what is in the folder, as it is served, is compared with what was trained."""
    trainer = trained(recipe, out)
    if trainer is not None:
        judge(trainer)


STAGES: dict[str, Callable[[Work], None]] = {
    "corpus": corpus,
    "data": conversations,
    "pretrain": pretrain,
    "tune": tune,
    "pack": pack,
    "figures": figures,
    "card": card,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("OWNLM_DATA"), help="folder laid out as docs/data.md"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/starter"))
    parser.add_argument("--budget", type=float, help="minutes of training; default: 90, or 20 on a GPU")
    parser.add_argument("--size", choices=("auto", "small", "large"), default="auto", help="auto: large where a GPU is")
    parser.add_argument("--threads", type=int, help="processor threads of training; default: all")
    parser.add_argument("--until", choices=tuple(STAGES), default=list(STAGES)[-1], help="the last stage to do")
    given = parser.parse_args()
    if given.data is None:
        raise SystemExit("say where the data is, with --data or OWNLM_DATA")
    work = Work(plan_for(given.size, given.budget, given.threads), given.data, given.out)
    for name, stage in STAGES.items():
        stage(work)
        if name == given.until:
            return


if __name__ == "__main__":
    main()
