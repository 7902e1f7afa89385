"""Fit the weights of retrieval, of choosing sentences and of abstaining: ``src/ownlm/rag/weights.json``.

    OWNLM_DATA=... python recipes/rag_weights.py [--articles 12]

    SQuAD's training articles ──> passages: their question's paragraph above the others
        with made-up tables ────> sentences: those that answer above the others
        and examples/questions.jsonl, the tuning half ──> the same, drawn from the weights so far (a Gaussian prior)
    answered questions, and the same without their paragraph ──> confidence; the tuning half sets the threshold

Only linear models, few enough weights to read. The test half of the questions and SQuAD's development half are not
opened. Needs torch (``ownlm[train]``). The result repeats on the same machine.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_tables import made_tables

from ownlm.engine.embedder import Embedder
from ownlm.engine.reader import Reader
from ownlm.files import atomic_write
from ownlm.rag import abstain, extract
from ownlm.rag.features import ABSTAIN, PASSAGE, SENTENCE
from ownlm.rag.library import Library
from ownlm.rag.read import read
from ownlm.rag.rerank import passage_features
from ownlm.rag.retrieve import Retrieval, Retriever
from ownlm.rag.sentence_features import Option
from ownlm.rag.store import Store
from ownlm.rag.texts import put_texts
from ownlm.rag.types import Extracted
from ownlm.rag.weights import FILE, Weights, shipped

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from collections_at_hand import data_folder, json_lines  # noqa: E402

READ = 8
SAMPLE = 1000
"""So many of SQuAD's questions are read: each costs a forward over eight passages."""
REFUSE = 0.55
"""The share of the tuning half's unanswerable questions that the threshold refuses at least."""
PRIOR_SPREAD = 1.5
"""How far (standard deviation, in weights) the tuning half may move a sentence weight without much ado."""
TUNING_WEIGHT = 40.0
"""One question of the tuning half counts as so many of SQuAD's, when confidence is fitted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the spans that answer it (none: unanswerable) and the documents to answer from (None: all)."""

    question: str
    golds: frozenset[tuple[int, int, int]]
    scope: tuple[int, ...] | None = None


SIGNS = {"rarest_missing": -1, "missing_names": -1, "unknown": -1, "kind_missing": -1, "terms": 0}
"""Signs of confidence that speak against an answer, or (0) neither way; all others speak for it."""


Group = tuple[np.ndarray, np.ndarray]
"""What was found for one question: features [options, f], and which of the options are right."""


def listwise(groups: Sequence[Group], start: np.ndarray, spread: float) -> np.ndarray:
    """Weights that put the right options first: softmax over each group, Gaussian prior around ``start``."""
    kept = [(x, y) for x, y in groups if y.any() and not y.all()]
    longest = max(len(y) for _, y in kept)
    features = torch.zeros(len(kept), longest, len(start))
    there = torch.zeros(len(kept), longest, dtype=torch.bool)
    right = torch.zeros_like(there)
    for row, (x, y) in enumerate(kept):
        features[row, : len(y)] = torch.from_numpy(x)
        there[row, : len(y)] = True
        right[row, : len(y)] = torch.from_numpy(y)
    centre = torch.tensor(start, dtype=torch.float32)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        scores = (features @ weights).masked_fill(~there, -1e9)
        found = torch.logsumexp(scores, 1) - torch.logsumexp(scores.masked_fill(~right, -1e9), 1)
        return found.sum() + ((weights - centre) ** 2).sum() / (2 * spread**2)

    return minimise(loss, centre)


def positive(groups: Sequence[Group]) -> np.ndarray:
    """``listwise`` with no weight below zero: a sign that speaks for a passage never counts against it.

    The most negative weight is set to zero and the rest fitted again, until none is negative.
    """
    kept = np.arange(groups[0][0].shape[1])
    while True:
        learned = listwise([(x[:, kept], y) for x, y in groups], np.zeros(len(kept)), 10.0)
        if learned.min() >= 0:
            weights = np.zeros(groups[0][0].shape[1])
            weights[kept] = learned
            return weights
        kept = np.delete(kept, learned.argmin())


def sensible(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``logistic`` in which what speaks for an answer never counts against it, nor the other way round (``SIGNS``).

    The weight furthest on the wrong side is set to zero and the rest fitted again, until none is.
    """
    signs = np.array([SIGNS.get(name, 1) for name in ABSTAIN])
    kept = np.arange(len(ABSTAIN))
    while True:
        *slopes, bias = logistic(x[:, kept], y, weight)
        wrong = np.array(slopes) * signs[kept]
        if wrong.min() >= 0:
            weights = np.zeros(len(ABSTAIN) + 1)
            weights[kept], weights[-1] = slopes, bias
            return weights
        kept = np.delete(kept, wrong.argmin())


def logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights and, last, the bias of a logistic regression with a light prior."""
    features = torch.tensor(np.hstack([x, np.ones((len(x), 1))]), dtype=torch.float32)
    target, each = torch.tensor(y, dtype=torch.float32), torch.tensor(weight, dtype=torch.float32)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        scores = features @ weights
        found = torch.nn.functional.binary_cross_entropy_with_logits(scores, target, each, reduction="sum")
        return found + (weights[:-1] ** 2).sum() / 8

    return minimise(loss, torch.zeros(features.shape[1]))


def minimise(loss: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> np.ndarray:
    """The minimum of a convex function, by L-BFGS."""
    weights = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(weights)
        value.backward()
        return value

    optimiser.step(step)
    return weights.detach().numpy()


def is_right(option: Option, asked: Asked) -> bool:
    """Whether a gold span lies inside the sentence."""
    document = option.candidate.passage.document_id
    return any(d == document and option.sentence.start <= a and b <= option.sentence.end for d, a, b in asked.golds)


def passage_groups(retriever: Retriever, questions: Iterable[Asked]) -> list[Group]:
    """Every candidate of every question; right is one that holds a gold span."""
    groups = []
    for asked in questions:
        found = retriever.retrieve(asked.question, 1000, asked.scope)
        rows = [passage_features(found.query, found.rarity, candidate) for candidate in found.candidates]
        right = [
            any(c.passage.document_id == d and c.passage.start <= a and b <= c.passage.end for d, a, b in asked.golds)
            for c in found.candidates
        ]
        groups.append((np.array(rows, np.float32), np.array(right)))
    return groups


def sentence_group(found: Retrieval, asked: Asked, weights: Weights) -> Group:
    """Every sentence that was read."""
    options = extract.scored(found.query, found.rarity, found.candidates, weights)
    return (
        np.array([option.features for option in options], np.float32).reshape(-1, len(SENTENCE)),
        np.array([is_right(option, asked) for option in options], bool),
    )


def judged(found: Retrieval, asked: Asked, weights: Weights) -> tuple[tuple[float, ...], bool]:
    """What speaks for answering, and whether the quotations would hold a gold span."""
    options = extract.scored(found.query, found.rarity, found.candidates, weights)
    quotes = extract.select(found.query, options, gap=weights.gap)
    hit = any(
        quote.passage.document_id == d and quote.start <= a and b <= quote.end
        for quote in quotes
        for d, a, b in asked.golds
    )
    return abstain.features(found.query, found.rarity, options), hit


def squad(folder: Path, articles: int, store: Store, embedder: Embedder) -> tuple[list[Asked], list[Asked]]:
    """Questions of a sample of articles; and some of them again without their paragraph, or without their article."""
    rows = list(json_lines(folder / "grounded_qa" / "squad_train.jsonl.xz"))
    titles = sorted({row["title"] for row in rows})
    random.Random(7).shuffle(titles)  # noqa: S311  (no secret is made)
    chosen = set(titles[:articles])
    rows = [row for row in rows if row["title"] in chosen]
    paragraphs = list(dict.fromkeys((row["title"], row["context"]) for row in rows))
    ids = put_texts(
        store,
        embedder,
        [
            (f"{n:05d}", Extracted(text, title.replace("_", " "), "text/plain"))
            for n, (title, text) in enumerate(paragraphs)
        ],
    )
    number = dict(zip(paragraphs, ids, strict=True))
    answered, without = [], []
    for index, row in enumerate(rows):
        own = number[row["title"], row["context"]]
        golds = {(own, a, a + len(text)) for text in row["answers"] for a in _every(row["context"], text)}
        answered.append(Asked(row["question"], frozenset(golds)))
        if index % 2 == 0:
            whole = index % 6 == 0
            hidden = {id for (title, _), id in number.items() if title == row["title"]} if whole else {own}
            without.append(Asked(row["question"], frozenset(), tuple(id for id in ids if id not in hidden)))
    return answered, without


def _every(text: str, part: str) -> list[int]:
    found, at = [], text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def tables(count: int, store: Store, embedder: Embedder) -> tuple[list[Asked], list[Asked]]:
    """Questions about made-up tables, and questions about what stands in none of them."""
    made = made_tables(count)
    ids = put_texts(store, embedder, [(f"table {n:05d}", table.extracted) for n, table in enumerate(made)])
    answered, without = [], []
    for id, table in zip(ids, made, strict=True):
        for question, row in table.questions:
            # Many tables are alike: each is asked alone.
            asked = Asked(question, frozenset() if row is None else frozenset({(id, *row)}), (id,))
            (without if row is None else answered).append(asked)
    return answered, without


def handbook(library: Library) -> list[Asked]:
    """The tuning half of the example's questions."""
    root = ROOT / "examples" / "handbook"
    library.sync([root])
    number = {document.name: document.id for document in library.documents()}
    lines = (ROOT / "examples" / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "tuning"]
    return [
        Asked(
            row["question"],
            frozenset(
                (number[str(root / span["document"])], span["start"], span["end"])
                for span in (row, *row.get("gold_all", ()))
                if "start" in span
            ),
        )
        for row in rows
    ]


def say(*parts: str) -> None:
    sys.stderr.write(" ".join(parts) + "\n")


def named(names: Sequence[str], values: Iterable[float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))


def fit(data: Path, articles: int, folder: Path) -> Weights:
    """All the weights, in the order in which they depend on each other."""
    embedder, reader = Embedder.load(), Reader.load()
    weights = shipped()
    with (
        Store.open(folder / "squad") as store,
        Store.open(folder / "tables") as other,
        Library.open(folder / "handbook") as library,
    ):
        answered, without = squad(data, articles, store, embedder)
        in_tables, not_in_tables = tables(200, other, embedder)
        tuning = handbook(library)
        say(f"{len(answered)} questions of SQuAD, {len(in_tables)} of tables, {len(tuning)} of the tuning half")
        learned = positive(passage_groups(Retriever(store, embedder), answered))
        weights = replace(weights, passage=_rounded(learned))
        say("passage:", named(PASSAGE, weights.passage))

        def ask(where: Any, questions: Sequence[Asked]) -> list[tuple[Retrieval, Asked]]:
            retriever = Retriever(where, embedder, weights=weights)
            found = [retriever.retrieve(asked.question, READ, asked.scope) for asked in questions]
            return [
                (replace(f, candidates=read(reader, f.query, f.candidates)), a)
                for f, a in zip(found, questions, strict=True)
            ]

        rng = random.Random(3)  # noqa: S311  (no secret is made)
        held = ask(store, rng.sample(answered, min(len(answered), SAMPLE))) + ask(other, in_tables)
        own = ask(library.store, tuning)
        prior = listwise([sentence_group(*pair, weights) for pair in held], np.zeros(len(SENTENCE)), 10.0)
        moved = listwise([sentence_group(*pair, weights) for pair in own], prior, PRIOR_SPREAD)
        weights = replace(weights, sentence=_rounded(moved))
        say("sentence:", named(SENTENCE, weights.sentence))
        refused = ask(store, rng.sample(without, min(len(without), SAMPLE // 2))) + ask(other, not_in_tables)
        cases = [judged(*pair, weights) for pair in (*held, *refused, *own) if pair[0].candidates]
    each = np.ones(len(cases))
    each[-len(own) :] = TUNING_WEIGHT
    x, y = np.array([found for found, _ in cases]), np.array([hit for _, hit in cases], float)
    *slopes, bias = sensible(x, y, each)
    weights = replace(weights, abstain=_rounded(slopes), bias=round(float(bias), 3))
    say("abstain:", named(ABSTAIN, weights.abstain), f"bias {weights.bias}")
    scores = [abstain.confidence(f.query, f.rarity, extract.scored(f.query, f.rarity, f.candidates, weights), weights)
              for f, _ in own]  # fmt: skip
    empty = sorted(score for score, (_, asked) in zip(scores, own, strict=True) if not asked.golds)
    threshold = empty[min(len(empty) - 1, int(np.ceil(REFUSE * len(empty))))]
    return replace(weights, threshold=round(threshold, 3))


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=12, help="articles of SQuAD to sample")
    parser.add_argument("--output", type=Path, default=ROOT / "src/ownlm/rag" / FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        weights = fit(data_folder(), arguments.articles, Path(folder))
    with atomic_write(arguments.output) as file:
        file.write((json.dumps(weights.to_dict(), indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
