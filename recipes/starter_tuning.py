"""The starter's tuning data: conversations as JSON lines, every task with its share, none of what measures.

``python recipes/starter_tuning.py --data FOLDER --out FOLDER`` writes ``OUT/tuning/train.jsonl``, ``valid.jsonl`` (one
row in 60) and ``tasks.json``, which says how much of each task is in them and what was left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starter_chat import small_talk, unknown
from starter_clean import Development
from starter_grounded import conversations, natural, papers, squad, stories
from starter_rows import Row
from starter_tasks import lines, opinions, sentences_in, summaries

from ownlm.cli.output import note
from ownlm.files import atomic_write

SEED = 5
EVERY = 60
"""One row of so many validates."""
LONGEST = 1_900
"""Characters of a conversation: 512 tokens, nearly always."""


@dataclass(frozen=True)
class Part:
    """Rows of a task in the small mixture; the large one takes ``LARGE`` times as many, or all there are.

    ``times``: how often each is shown, where the data set is smaller than its share."""

    name: str
    licence: str
    credit: str
    needs: tuple[str, ...]
    rows: int
    times: int = 1


LARGE = 6
PARTS = (
    Part("squad", "CC BY-SA 4.0", "SQuAD 1.1 train", ("grounded_qa/squad_train",), 4_200),
    Part("qed", "CC BY-SA 3.0", "QED, of Natural Questions", ("grounded_qa/qed_train",), 1_200),
    Part("fairytales", "Apache-2.0", "FairytaleQA train", ("grounded_qa/fairytaleqa_train",), 900),
    Part("covid", "Apache-2.0, articles CC BY", "COVID-QA", ("instruct/covid_qa_part",), 200),
    Part("sentences", "CC BY 4.0", "sentence polarity", ("sentiment/sentence_polarity_train",), 8_000),
    Part("reviews", "CC BY 4.0", "movie reviews", ("sentiment/movie_reviews_train",), 900),
    Part("products", "CC BY 4.0", "pros and cons of products", ("sentiment/pros_cons",), 2_000),
    Part("spanish", "CC0, English PSF", "Python documentation en-es", ("translation/python_docs_en_es",), 3_600),
    Part("french", "CC0, English PSF", "Python documentation en-fr", ("translation/python_docs_en_fr",), 2_800),
    Part("summaries", "Apache-2.0", "SciTLDR train", ("summarization/scitldr_train",), 2_000),
    Part("lines", "PSF, MIT, CC BY 4.0", "Python standard library, TheAlgorithms, MBPP 601-974",
         ("code/mbpp", "pretrain/thealgorithms_python"), 5_000),
    Part("chat", "Apache-2.0", "lines of this recipe, titles of SQuAD", ("grounded_qa/squad_train",), 1_500, 2),
)  # fmt: skip


def made(part: Part, data: Path) -> Iterator[Row]:
    """All rows of a part, in an order of the part's own seed."""
    chance = random.Random(f"{SEED} {part.name}")  # noqa: S311
    paragraphs = {"squad": lambda: squad(chance, data), "qed": lambda: natural(data),
                  "fairytales": lambda: stories(data), "covid": lambda: papers(data)}  # fmt: skip
    if part.name in paragraphs:
        found = list(conversations(chance, list(paragraphs[part.name]())))
    elif part.name == "chat":
        found = [*small_talk(chance, 5), *unknown(chance, data, part.rows // 3)]
    elif part.name == "lines":
        found = list(lines(chance, data, 4))
    else:
        others = {"spanish": lambda: sentences_in("es", data),
                  "french": lambda: sentences_in("fr", data), "summaries": lambda: summaries(data)}  # fmt: skip
        found = list(others.get(part.name, lambda: opinions(part.needs[0], data))())
    chance.shuffle(found)
    yield from found


def gather(data: Path, out: Path, *, large: bool = False) -> list[dict[str, Any]]:
    """Write the conversations below ``out/tuning``; the table says for each part what was kept and left out."""
    said = out / "tuning" / "tasks.json"
    if said.is_file():
        table: list[dict[str, Any]] = json.loads(said.read_text(encoding="utf-8"))
        return table
    development = Development.of(data)
    table, kept = [], []
    for part in PARTS:
        missing = [name for name in part.needs if not (data / f"{name}.jsonl.xz").is_file()]
        if missing:
            note(f"{part.name}: {', '.join(missing)} not in {data}; left out")
            continue
        chosen, entry = chosen_rows(made(part, data), development, part.rows * (LARGE if large else 1))
        named = {"name": part.name, "licence": part.licence, "credit": part.credit, "times": part.times}
        table.append(named | entry)
        kept += chosen * part.times
        note(f"{part.name}: {', '.join(f'{count} {name}' for name, count in entry.items())}")
    random.Random(SEED).shuffle(kept)  # noqa: S311
    valid = {json.dumps(row.messages) for row in kept[::EVERY]}
    _write(out / "tuning" / "valid.jsonl", kept[::EVERY])
    _write(out / "tuning" / "train.jsonl", [row for row in kept if json.dumps(row.messages) not in valid])
    with atomic_write(said) as file:
        file.write(json.dumps(table, indent=1).encode("utf-8"))
    return table


def chosen_rows(found: Iterator[Row], development: Development, count: int) -> tuple[list[Row], dict[str, int]]:
    """The first ``count`` that are short enough and share nothing with a development set, and the counts."""
    chosen: list[Row] = []
    entry = {"rows": 0, "answers": 0, "characters": 0, "learnt": 0, "too_long": 0, "shares_words": 0}
    for row in found:
        if len(chosen) == count:
            break
        if row.characters > LONGEST:
            entry["too_long"] += 1
        elif any(development.shares(text) for text in row.read):
            entry["shares_words"] += 1
        else:
            chosen.append(row)
            entry["rows"] += 1
            entry["answers"] += sum(message["role"] == "assistant" for message in row.messages)
            entry["characters"] += row.characters
            entry["learnt"] += row.learnt
    return chosen, entry


def _write(path: Path, rows: Sequence[Row]) -> None:
    with atomic_write(path) as file:
        for row in rows:
            file.write(json.dumps({"messages": list(row.messages)}, ensure_ascii=False).encode("utf-8") + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("OWNLM_DATA"), help="folder laid out as docs/data.md"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/starter"))
    parser.add_argument("--large", action="store_true", help="as many rows as there are, for a model trained on a GPU")
    given = parser.parse_args()
    if given.data is None:
        raise SystemExit("say where the data is, with --data or OWNLM_DATA")
    gather(given.data, given.out, large=given.large)


if __name__ == "__main__":
    main()
