"""``ownlm eval safety``: bias, toxic words, personal data and training text in what a model writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ownlm.cli.eval import Model, Ops, Out, opened
from ownlm.cli.options import Json
from ownlm.cli.output import note, say, write_json


def safety(
    model: Model = None,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(help="Text or shards that the model was trained on: does it repeat them word for word?"),
    ] = None,
    text_field: Annotated[str, typer.Option(help="Where the text is in the rows of the corpus.")] = "text",
    canaries: Annotated[
        Path | None, typer.Option(help="Secrets that were planted in the training text: are they known?")
    ] = None,
    make_canaries: Annotated[
        Path | None, typer.Option(help="Only write secrets to plant, to this JSONL file, to be trained on.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Continuations that are drawn of each beginning.")] = 8,
    tokens: Annotated[int, typer.Option(help="Tokens of a continuation, at most.")] = 32,
    seed: Annotated[int, typer.Option(help="What is drawn, and which secrets are made.")] = 0,
    out: Out = None,
    json: Json = False,
    ops: Ops = "native",
) -> None:
    """Measure bias, toxicity and leaks of a model, with intervals, and write them into its evals.json.

    Words and sentences are English and our own; the methods are those of CrowS-Pairs, WEAT, WinoBias, BBQ, BOLD,
    RealToxicityPrompts and of Carlini et al. A low figure is no proof: it says what these words and beginnings show.
    """
    from ownlm.cli.eval_table import counting
    from ownlm.evals.results import check_writable, results_path, update
    from ownlm.evals.safety import canaries as planted
    from ownlm.evals.safety.ask import Sampling
    from ownlm.evals.safety.corpus import Corpus
    from ownlm.evals.safety.report import lines, measure

    if make_canaries is not None:
        planted.write(make_canaries, planted.make(32, seed))
        say(f"{make_canaries}: train on it among the other text, then measure with --canaries {make_canaries}")
        return
    sampling = Sampling(samples, tokens, seed=seed)
    text = Corpus(tuple(corpus), text_field) if corpus else None
    secrets = planted.read(canaries) if canaries is not None else []
    if out is not None:
        check_writable("--out", out)
    with opened(model, ops) as llm:
        path = out or results_path(llm.path or Path(llm.name))
        check_writable("--out", path)
        with counting("safety") as progress:
            found = measure(llm, sampling, corpus=text, canaries=secrets, on_progress=progress)
        whole: dict[str, Any] = update(path, "safety", found, model=llm.name, fingerprint=llm.fingerprint)
    note(f"written to {path}")
    if json:
        write_json(whole)
        return
    for line in lines(found):
        say(line)
