"""The shape that ships against the research decoder, part by part, at equal compute: bits per byte of held-out text.

    ownlm data build ... --out SHARDS
    python benchmarks/architectures.py SHARDS --depth 2 --flops 2e13 --seeds 2

Every variant is trained by the same trainer on the same tokens in the same order, with the dial's settings of the shape
that ships, for as many steps as spend the given operations (6 N a token and attention: ``train/shape.py``). Value
embeddings are looked up and cost no operations, but they are parameters: the table says how many. What differs by
less than the seeds do is no difference.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.train.data import manifest as manifests
from ownlm.train.dial import Dial, dial
from ownlm.train.metrics import MetricsFile
from ownlm.train.optim import OptimizerSettings
from ownlm.train.recipe import Fresh, Recipe, Tokens
from ownlm.train.schedule import Schedule
from ownlm.train.shape import Kind
from ownlm.train.trainer import train


@dataclass(frozen=True)
class Variant:
    """``without``: settings of the research decoder's config.json that are taken out of it."""

    kind: Kind
    without: tuple[str, ...] = ()

    def config(self, derived: Dial) -> dict[str, Any]:
        """What its config.json says."""
        nothing: dict[str, Any] = {"value_embedding_layers": [], "final_logit_softcapping": None}
        return {**derived.shape.config(), **{name: nothing[name] for name in self.without}}


VALUES, CAP = "value_embedding_layers", "final_logit_softcapping"
VARIANTS = {
    "qwen3 (ships)": Variant("qwen3"),
    "squared ReLU": Variant("ownlm", (VALUES, CAP)),
    "squared ReLU, softcap": Variant("ownlm", (VALUES,)),
    "squared ReLU, value embeddings": Variant("ownlm", (CAP,)),
    "ownlm (all three)": Variant("ownlm"),
}


@dataclass(frozen=True)
class Found:
    """One training of one variant."""

    variant: str
    seed: int
    parameters: int
    steps: int
    tokens: int
    flops: float
    seconds: float
    bits_per_byte: float


def measure(name: str, seed: int, options: argparse.Namespace, out: Path) -> Found:
    """Train a variant with the operations given, and read the held-out text."""
    from ownlm.model.decoder_families import decoder_config
    from ownlm.model.decoder_weights import blank_params
    from ownlm.train.shape import flops_per_token

    variant, vocabulary = VARIANTS[name], manifests.load(options.shards).vocab_size
    derived = dial(options.depth, vocabulary, kind=variant.kind, context=options.length)
    config = variant.config(derived)
    read = decoder_config(config, name)
    per_token = flops_per_token(read, options.length)
    # The batch and the rates of one shape, for all: the one that ships, over the tokens that it sees.
    shipped = dial(options.depth, vocabulary, context=options.length)
    tokens = round(options.flops / shipped.shape.flops_per_token(options.length))
    shipped = dial(options.depth, vocabulary, context=options.length, tokens=tokens)
    batch = shipped.batch_tokens // options.length
    steps = max(1, round(options.flops / per_token / shipped.batch_tokens))
    recipe = Recipe(
        name=name,
        model=Fresh(config, options.shards),
        data=Tokens(options.shards),
        optimizer=OptimizerSettings(rates=shipped.rates),
        schedule=Schedule(steps=steps, warmup=shipped.warmup_steps, decay=shipped.decay_share),
        batch=batch,
        length=options.length,
        precision="float32",
        threads=options.threads,
        seed=seed,
        save_every=0,
        measure_every=0,
        measured_rows=options.measured_rows,
    )
    began = time.perf_counter()
    result = train(recipe, out, hooks=[MetricsFile()])
    return Found(
        variant=name,
        seed=seed,
        parameters=sum(int(tensor.array.size) for tensor in blank_params(read)[1].values()),
        steps=steps,
        tokens=steps * shipped.batch_tokens,
        flops=per_token * steps * shipped.batch_tokens,
        seconds=time.perf_counter() - began,
        bits_per_byte=result["valid_bits_per_byte"],
    )


def table(found: list[Found]) -> str:
    """A row a variant: the mean over seeds, and how far apart they lie."""
    rows = ["| variant | parameters | tokens | FLOPs | bits per byte | seeds | against the first |", "|---" * 7 + "|"]
    first = None
    for name in dict.fromkeys(one.variant for one in found):
        runs = [one for one in found if one.variant == name]
        mean = statistics.fmean(one.bits_per_byte for one in runs)
        first = mean if first is None else first
        seeds = ", ".join(f"{one.bits_per_byte:.4f}" for one in runs)
        rows.append(
            f"| {name} | {runs[0].parameters / 1e6:.2f}M | {runs[0].tokens / 1e6:.2f}M | {runs[0].flops:.2e} "
            f"| {mean:.4f} | {seeds} | {100 * (mean / first - 1):+.1f} % |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, help="a folder of token shards with a part to validate")
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--flops", type=float, default=2e13)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measured-rows", type=int, default=256)
    parser.add_argument("--out", type=Path, help="keep the runs and results.json in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out, found = options.out or Path(scratch), list[Found]()
        for seed in range(options.seeds):
            for name in options.variants:
                found.append(measure(name, seed, options, out / f"{name.replace(' ', '-')}-{seed}"))
                print(json.dumps(dataclasses.asdict(found[-1])), flush=True)
        if options.out is not None:
            (out / "results.json").write_text(json.dumps([dataclasses.asdict(one) for one in found], indent=1) + "\n")
    print(table(sorted(found, key=lambda one: options.variants.index(one.variant))))


if __name__ == "__main__":
    main()
