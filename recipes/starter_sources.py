"""The texts that the starter is pretrained on, each with its licence: small and plain for the small model, all for the
large one.

Every source gives its documents in an order that depends on nothing but the data; ``train/data`` shuffles them. Sets
with answers are told in the words of ``ownlm.prompts``, so that tuning finds the tasks half learned.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from starter_clean import Development, plain, rows, start_of

from ownlm.evals.held_out import held_out
from ownlm.prompts import grounded, sentiment, summarize, translate
from ownlm.prompts.template import Prompt

Texts = Callable[[Path], Iterator[str]]
LEAD = 800
"""Characters of an article that the small model reads: what it is about stands first, and all articles count more."""
FOLLOW_UP = "Question: "
"""How a second question about the same passages is put."""
_NO_SOURCES = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo", "ensurepip"}


@dataclass(frozen=True)
class Source:
    """``small`` and ``large``: megabytes of text at most for either model; 0 leaves it out. ``needs``: the set that
    must be there (None: every machine has it)."""

    name: str
    licence: str
    credit: str
    needs: str | None
    texts: Texts
    small: float
    large: float


def asked(prompt: Prompt[Any], inputs: Any) -> str:
    """The user's words of a prompt."""
    return str(prompt.messages(inputs)[-1]["content"])


def _field(name: str, *, characters: int | None = None, least: int = 200) -> Texts:
    """The field ``text`` of a set, or its beginning."""

    def texts(data: Path) -> Iterator[str]:
        for row in rows(data, name):
            text = plain(row["text"])
            if len(text) >= least:
                yield start_of(text, characters) if characters else text

    return texts


def wikipedia(characters: int | None) -> Texts:
    """Articles under their titles, without headings of sections."""

    def texts(data: Path) -> Iterator[str]:
        for row in rows(data, "pretrain/wikipedia_en_2015_part"):
            kept = [part for part in plain(row["text"]).split("\n\n") if len(part) > 80 and not part.startswith("#")]
            text = "\n\n".join(kept)
            if len(text) >= 200:
                yield row["title"] + "\n\n" + (start_of(text, characters) if characters else text)

    return texts


def reading(place: str, context: str, turns: list[tuple[str, str]]) -> str:
    """A passage, and questions with their answers."""
    source = grounded.Source(place, plain(context))
    first, *others = turns
    text = asked(grounded.SHORT, grounded.Grounded(first[0], (source,))) + "\n" + first[1]
    return "\n".join([text, *(f"{FOLLOW_UP}{question}\n{answer}" for question, answer in others)])


def squad_reading(data: Path) -> Iterator[str]:
    """Paragraphs with all their questions and answers, and often two questions of another paragraph of the article,
    which this one does not answer: reading, five times as dense as one question a row."""
    chance = random.Random(7)  # noqa: S311
    by_context: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows(data, "grounded_qa/squad_train"):
        if row["answers"]:
            pair = (row["question"].strip(), row["answers"][0].strip())
            by_context.setdefault((row["title"], row["context"]), []).append(pair)
    for title, paragraphs in groupby(by_context.items(), key=lambda item: item[0][0]):
        article = list(paragraphs)
        for (_, context), pairs in article:
            turns = [(question, f"“{answer}”") for question, answer in pairs]
            if len(article) > 3 and chance.random() < 0.5:
                other = chance.choice(article)[1]
                turns += [(q, grounded.NOTHING) for q, a in other if a.lower() not in context.lower()][:2]
            chance.shuffle(turns)
            yield reading(title.replace("_", " "), context, turns)


def fairytales(data: Path) -> Iterator[str]:
    """Sections of stories with their questions and answers."""
    found = rows(data, "grounded_qa/fairytaleqa_train")
    for (story, context), group in groupby(found, key=lambda row: (row["story"], row["context"])):
        turns = [(row["question"], grounded.cited(row["answers"][0], 1)) for row in group]
        yield reading(story.replace("-", " "), context, turns)


def abstracts(data: Path) -> Iterator[str]:
    """Abstracts of papers and their sentence-long summaries."""
    for row in rows(data, "summarization/scitldr_train"):
        text = " ".join(sentence.strip() for sentence in row["source"])
        yield asked(summarize.PROMPT, summarize.Summarize(text)) + "\n" + row["target"][0]


def reviews(data: Path) -> Iterator[str]:
    """Movie reviews, of a sentence and long, that measure nothing."""
    for name in ("sentiment/sentence_polarity_train", "sentiment/movie_reviews_train"):
        for row in rows(data, name):
            if not held_out(row["text"]):
                yield asked(sentiment.PROMPT, sentiment.Sentiment(plain(row["text"]))) + "\n" + row["label"]


def translations(data: Path, language: str) -> list[dict[str, str]]:
    """Pairs of files that do not measure, whose English stands in none that does, and which are more than a word."""
    found = list(rows(data, f"translation/python_docs_en_{language}"))
    measured = {row["en"] for row in found if held_out(row["path"])}
    return [row for row in found if not held_out(row["path"]) and row["en"] not in measured and len(row["en"]) > 15]


def pairs(language: str) -> Texts:
    """Sentences and their translations, a page's in one document of about eight pairs."""

    def texts(data: Path) -> Iterator[str]:
        for _, group in groupby(translations(data, language), key=lambda row: row["path"]):
            page = [
                asked(translate.PROMPT, translate.Translate(row["en"], language)) + "\n" + row["tgt"] for row in group
            ]
            for at in range(0, len(page), 8):
                yield "\n\n".join(page[at : at + 8])

    return texts


def python_docs(data: Path) -> Iterator[str]:
    """Pages of Python's documentation whose translations do not measure."""
    for row in rows(data, "pretrain/python_docs_en"):
        if not held_out(row["path"]):
            yield plain(row["text"])


def algorithms(data: Path) -> Iterator[str]:
    """Python files, whole."""
    for row in rows(data, "pretrain/thealgorithms_python"):
        text = row["text"].replace("\r\n", "\n").strip()
        if len(text) > 200:
            yield text + "\n"


def standard_library(data: Path) -> Iterator[str]:
    """The sources of this Python's library, without its tests and tables; in an order of their own names."""
    chance = random.Random(11)  # noqa: S311
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(p for p in root.rglob("*.py") if not _NO_SOURCES & set(p.relative_to(root).parts))
    chance.shuffle(files)
    for path in files:
        if "encodings" in path.parts or path.stat().st_size > 200_000:
            continue
        text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
        if len(text) > 300 and max(map(len, text.split("\n"))) < 400:
            yield text


def small_programs(data: Path) -> Iterator[str]:
    """MBPP's tasks that may be trained on."""
    for row in rows(data, "code/mbpp"):
        if row["task_id"] > 600:
            code = row["code"].replace("\r\n", "\n").replace("\t", "    ")
            yield f'"""{row["text"]}"""\n{code}\n'


WIKIPEDIA, SQUAD = "pretrain/wikipedia_en_2015_part", "grounded_qa/squad_train"
BY_SA = "CC BY-SA 3.0"
SOURCES = (
    Source("wikipedia", BY_SA, "English Wikipedia, spring 2015", WIKIPEDIA, wikipedia(LEAD), 20, 0),
    Source("wikipedia-whole", BY_SA, "English Wikipedia, spring 2015", WIKIPEDIA, wikipedia(None), 0, 400),
    Source("squad-reading", "CC BY-SA 4.0", "SQuAD 1.1 train (Rajpurkar et al. 2016)", SQUAD, squad_reading, 24, 24),
    Source("fairytales", "Apache-2.0", "FairytaleQA train (Xu et al. 2022)", "grounded_qa/fairytaleqa_train",
           fairytales, 5, 5),
    Source("african-storybook", "CC BY", "African Storybook", "pretrain/african_storybook_en",
           _field("pretrain/african_storybook_en"), 1, 1),
    Source("psychology", "CC BY 4.0", "OpenStax Psychology", "pretrain/openstax_psychology_ccby",
           _field("pretrain/openstax_psychology_ccby"), 2, 9),
    Source("us-history", "CC BY 4.0", "OpenStax U.S. History", "pretrain/openstax_us_history_ccby",
           _field("pretrain/openstax_us_history_ccby"), 2, 9),
    Source("world-history", "CC BY 4.0", "OpenStax World History", "pretrain/openstax_world_history_ccby",
           _field("pretrain/openstax_world_history_ccby"), 2, 9),
    Source("digital-gov", "CC0", "digital.gov", "pretrain/digitalgov_gov",
           _field("pretrain/digitalgov_gov", characters=2 * LEAD), 2, 0),
    Source("digital-gov-whole", "CC0", "digital.gov", "pretrain/digitalgov_gov",
           _field("pretrain/digitalgov_gov"), 0, 11),
    Source("abstracts", "Apache-2.0", "SciTLDR train (Cachola et al. 2020)", "summarization/scitldr_train",
           abstracts, 3, 3),
    Source("reviews", "CC BY 4.0", "movie reviews and sentence polarity (Pang and Lee 2004, 2005)",
           "sentiment/movie_reviews_train", reviews, 4, 8),
    Source("english-spanish", "CC0, English PSF", "Python documentation and its Spanish translation",
           "translation/python_docs_en_es", pairs("es"), 8, 14),
    Source("english-french", "CC0, English PSF", "Python documentation and its French translation",
           "translation/python_docs_en_fr", pairs("fr"), 6, 7),
    Source("python-docs", "PSF", "Python documentation", "pretrain/python_docs_en", python_docs, 1, 8),
    Source("algorithms", "MIT", "TheAlgorithms/Python", "pretrain/thealgorithms_python", algorithms, 4, 4),
    Source("standard-library", "PSF", "sources of the Python standard library", None, standard_library, 5, 12),
    Source("mbpp", "CC BY 4.0", "MBPP 601-974 (Austin et al. 2021)", "code/mbpp", small_programs, 1, 1),
    Source("peps", "public domain / CC0 / OPL", "Python Enhancement Proposals", "pretrain/python_peps",
           _field("pretrain/python_peps"), 0, 14),
    Source("cpp-docs", "CC BY 4.0", "Microsoft C++ documentation", "pretrain/ms_cpp_docs",
           _field("pretrain/ms_cpp_docs"), 0, 39),
    Source("medquad", "CC BY 4.0", "MedQuAD", "pretrain/medquad_pages", _field("pretrain/medquad_pages"), 0, 22),
    Source("novels", "public domain, markup CC BY 4.0", "ELTeC, 50 English novels", "pretrain/eltec_eng",
           _field("pretrain/eltec_eng"), 0, 36),
    Source("rust-rfcs", "MIT/Apache-2.0", "Rust RFCs", "pretrain/rust_rfcs", _field("pretrain/rust_rfcs"), 0, 9),
)  # fmt: skip


def documents(source: Source, data: Path, development: Development, megabytes: float) -> Iterator[tuple[str, bool]]:
    """The source's texts up to so many megabytes, and whether each was left out because it shares words with a
    development set. What is left out does not count."""
    size = 0
    for text in source.texts(data):
        if size >= megabytes * 1e6:
            return
        left_out = development.shares(text)
        if not left_out:
            size += len(text.encode("utf-8"))
        yield text, left_out
