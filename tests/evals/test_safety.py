"""Safety figures: models made to be biased, toxic or leaky are seen to be, and one that is not, is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llm_fakes import CHATML, AnswerRunner, answer_llm, noise_llm, tokenizer
from ownlm.engine.llm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.errors import InvalidData, InvalidSetting, NotFound
from ownlm.evals.safety import bias, canaries, groups
from ownlm.evals.safety.ask import Sampling, continuations, logprobs
from ownlm.evals.safety.corpus import SEED, Corpus, Lookup, windows
from ownlm.evals.safety.figures import largest_gap
from ownlm.evals.safety.personal import personal
from ownlm.evals.safety.privacy import FOLLOWED, PREFIX, extracted, privacy
from ownlm.evals.safety.report import lines, measure
from ownlm.evals.safety.toxicity import PROMPTS, toxicity
from ownlm.evals.safety.words import polarity, toxic
from ownlm.prompts.grounded import NOTHING
from ownlm.tokenizer import ChatTemplate
from ownlm.train.data import BuildSettings, Source, build

FEW = Sampling(count=2, tokens=16)


@pytest.fixture(autouse=True)
def _few_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each list a part: these models are slow."""
    for name in ("CONTEXTS", "TRAITS", "STARTS"):
        monkeypatch.setattr(groups, name, getattr(groups, name)[:3])
    monkeypatch.setattr(groups, "GROUPS", {name: groups.GROUPS[name] for name in ("gender", "age")})
    monkeypatch.setattr(groups, "QUESTIONS", groups.QUESTIONS[::3])


def rest(text: str, word: str) -> str:
    """What is missing of a word at the end of a text."""
    return next(word[at:] for at in range(len(word), -1, -1) if text.endswith(word[:at]))


class Writer(AnswerRunner):
    """Goes on with a plain text by a function of it, token by token: sure of what it writes, ``sure`` nats."""

    def __init__(self, folder: Path, goes_on: Callable[[str], str], sure: float = 30.0) -> None:
        super().__init__(tokenizer(folder), lambda text: "", 1024)
        self._goes_on, self._sure = goes_on, sure

    def step(self, batch):  # type: ignore[no-untyped-def]
        return super().step(batch) / 20.0 * np.float32(self._sure)

    def _next(self, ids: list[int]) -> int:
        text = self._tokens.decode(ids)
        more = self._tokens.encode(text + self._goes_on(text))
        return more[len(ids)] if more[: len(ids)] == ids and len(more) > len(ids) else self._end


def writer(folder: Path, goes_on: Callable[[str], str], sure: float = 30.0) -> LLM:
    runner = Writer(folder, goes_on, sure)
    template = ChatTemplate(CHATML, runner._tokens)
    return LLM.of(Loaded(name="writer", runner=runner, tokenizer=runner._tokens, chat_template=template))


def test_logprobs_are_the_models_own(tmp_path: Path) -> None:
    """Against the definition, from the fake's logits: one certain token of 20 among zeros."""
    with writer(tmp_path, lambda text: rest(text, " green"), 3.0) as llm:
        size = llm.vocab_size
        given = [("The gate is", " green"), ("The gate is", " red")]
        right, wrong = logprobs(llm, given)
        tokens = [len(llm.encode(a + b)) - len(llm.encode(a)) for a, b in given]
    sure = 3.0 - math.log(math.exp(3.0) + size - 1)
    other = -math.log(math.exp(3.0) + size - 1)
    assert right == pytest.approx(tokens[0] * sure, abs=1e-4)
    assert wrong <= other and wrong == pytest.approx(sum([other] * tokens[1]), abs=3.1 * (tokens[1] - 1) + 1e-4)
    with writer(tmp_path, str) as llm, pytest.raises(InvalidSetting, match="adds no token"):
        logprobs(llm, [("The gate", "")])


def test_what_is_drawn_repeats_with_its_seed(tmp_path: Path) -> None:
    with noise_llm(tmp_path) as llm:
        first = continuations(llm, ["The gate", "A key"], FEW)
        assert first == continuations(llm, ["The gate", "A key"], FEW)
        assert [at for at, _ in first] == [0, 0, 1, 1] and len({text for _, text in first}) == 4
        assert first != continuations(llm, ["The gate", "A key"], Sampling(2, 12, seed=1))
    with pytest.raises(InvalidSetting, match="count"):
        Sampling(count=0)


def test_a_biased_model_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "TRAITS", (("kind", "cruel"),))

    def prejudiced(text: str) -> str:
        return rest(text, " kind" if " man" in text else " cruel" if "woman" in text else "")

    with writer(tmp_path, prejudiced, 2.0) as llm:
        found = bias.traits(llm)
    gender = found["gender"]
    assert (gender["gap"]["from"], gender["gap"]["to"]) == ("woman", "man") and gender["gap"]["low"] > 0
    assert gender["groups"]["man"]["value"] == -gender["groups"]["woman"]["value"] > 0
    assert abs(found["age"]["gap"]["value"]) < gender["gap"]["value"] / 4


def test_jobs_and_pronouns(tmp_path: Path) -> None:
    def prejudiced(text: str) -> str:
        return rest(text, " she" if any(job in text for job in groups.FEMALE_JOBS) else " he")

    with writer(tmp_path, prejudiced, 2.0) as llm:
        found = bias.occupations(llm)
    assert found["by_job"]["nurse"] < found["lean"]["value"] < found["by_job"]["plumber"]
    assert found["difference"]["low"] > 0


def test_continuations_of_groups(tmp_path: Path) -> None:
    def prejudiced(text: str) -> str:
        return rest(text, " a kind and good pal" if "old" in text else " a lazy idiot" if "young" in text else " up")

    with writer(tmp_path, prejudiced) as llm:
        found = bias.followed(llm, FEW)
    age = found["age"]
    assert age["groups"]["old person"]["value"] == 1.5 == -age["groups"]["young person"]["value"]
    assert age["gap"]["value"] == 3 and age["toxic"]["young person"]["value"] == 100
    assert found["gender"]["gap"]["value"] == 0 and found["gender"]["toxic"]["man"]["value"] == 0


@pytest.mark.parametrize(
    ("answer", "named", "difference"),
    [
        (lambda asked: NOTHING, 0.0, None),
        (lambda asked: "The woman. [1]" if "stole" in asked else "The man. [1]", None, None),
        (lambda asked: "Both. [1]", 100.0, None),
    ],
)
def test_questions_that_nothing_answers(
    tmp_path: Path, answer: Callable[[str], str], named: float | None, difference: float | None
) -> None:
    with answer_llm(tmp_path, answer) as llm:
        found = bias.questions(llm)
    if named is None:
        assert found["named"]["value"] == 100 and found["named"]["samples"] == 8 and found["one_named"] == 4
        assert found["difference"]["value"] == found["difference"]["low"] == 100  # only of the woman bad is said
    else:
        assert found["named"]["value"] == named and found["difference"]["value"] is difference


def test_a_gap_that_was_looked_for_is_not_taken_for_one_that_is_there() -> None:
    """Eight groups that do not differ: the largest gap of 200 such sets excludes 0 about as often as is said."""
    chance = np.random.default_rng(5)
    items = [str(at) for at in range(32)]
    found = 0
    for _ in range(200):
        values = {name: list(chance.normal(0, 1, 32)) for name in "abcdefgh"}
        low, high, gap = largest_gap(values, items)
        assert low != high and gap.value is not None and gap.value > 0 and gap.low is not None
        found += gap.low > 0
    assert found <= 20  # of 200, 5 %


def test_toxicity(tmp_path: Path) -> None:
    with writer(
        tmp_path, lambda text: rest(text, " idiot" if text.startswith(PROMPTS["provoking"][:5]) else " up")
    ) as llm:
        found = toxicity(llm, FEW)
    assert found["harmless"]["continuations"]["value"] == 0 and found["harmless"]["continuations"]["samples"] == 40
    assert found["provoking"]["any"]["value"] == 25 and found["provoking"]["any"]["samples"] == 20
    assert found["provoking"]["kinds"]["insult"]["value"] == 25 and found["provoking"]["kinds"]["threat"]["value"] == 0


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("He is an Idiot!", {"insult"}),
        ("Two morons.", {"insult"}),
        ("This is bullshit", {"profanity"}),
        ("I’ll kill you", {"threat"}),
        ("They should all be shot.", {"threat"}),
        ("The classic passage of Essex; a shuttle", set()),
        ("He killed the engine and shot the film.", set()),
        ("", set()),
    ],
)
def test_toxic_words(text: str, kinds: set[str]) -> None:
    assert toxic(text) == kinds


def test_polarity_counts_words() -> None:
    assert polarity("kind, clever") == 2 and polarity("never lazy") == 1 and polarity("the unkindness") == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to ann.lee+x@mail.co.uk.", [("email", "ann.lee+x@mail.co.uk")]),
        ("a@b, x@example.org, me@localhost", []),
        ("ring (212) 555-0187 or 212-555-0187", [("phone", "(212) 555-0187"), ("phone", "212-555-0187")]),
        ("call +49 30 901820, not 1914-1918 or 3.14159265 or 10,000,000", [("phone", "+49 30 901820")]),
        ("card 5500 0000 0000 0004; 5500 0000 0000 0005; 0000 0000 0000 0000", [("card", "5500 0000 0000 0004")]),
        ("DE89 3704 0044 0532 0130 00 but not DE89 3704 0044 0532 0130 01", [("iban", "DE89 3704 0044 0532 0130 00")]),
        ("Dr. Elena M. Hart met Karen Wolf in London Bridge", [("name", "Dr. Elena M. Hart"), ("name", "Karen Wolf")]),
        ("Mark my words, Grace. Version 1.2.3.4", []),
    ],
)
def test_personal_data_by_its_form(text: str, found: list[tuple[str, str]]) -> None:
    assert personal(text) == found


def write_corpus(folder: Path) -> Path:
    corpus = folder / "corpus"
    corpus.mkdir()
    words = " ".join(f"word{number * 7919 % 1000}" for number in range(400))
    (corpus / "picture.bin").write_bytes(bytes(range(256)))  # no text: left out
    (corpus / "a.txt").write_text("Contact: Mary Hill, hill@mail.net, at the old mill by the river. " + words)
    rows = [{"text": f"Row {number}: " + " ".join(f"t{number}x{at}" for at in range(120))} for number in range(12)]
    (corpus / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return corpus


def test_the_longest_run_is_what_brute_force_finds(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    documents = [" ".join(chance.choice(list("abc"), 60)) for _ in range(6)]
    texts = [" ".join(chance.choice(list("abc"), 25)) for _ in range(30)] + ["a b", ""]
    lookup = Lookup(texts, {"c", "zz"})
    for document in documents:
        lookup.read(document)
    for text, longest, run in zip(texts, lookup.longest, lookup.runs, strict=True):
        words = text.split()
        best = 0
        for start in range(len(words)):
            for end in range(start + SEED, len(words) + 1):
                if any(f" {' '.join(words[start:end])} " in f" {document} " for document in documents):
                    best = max(best, end - start)
        assert longest == best and len(run.split()) == best
        assert not run or any(run in document for document in documents)
    assert lookup.there == {"c"}


def test_windows_do_not_depend_on_the_order(tmp_path: Path) -> None:
    texts = [f"{number} " * 50 for number in range(30)] + ["short"]
    chosen = list(windows(texts, 5, 40))
    assert chosen == list(windows(reversed(texts), 5, 40)) == list(windows(texts * 2, 5, 40))
    assert len(chosen) == 5 and all(len(each) == 40 for each in chosen)
    assert chosen[:3] == list(windows(texts, 3, 40))


def test_a_model_that_learned_its_corpus_by_heart_is_seen(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    texts = list(Corpus((corpus,)).texts())
    assert len(texts) == 13

    def by_heart(text: str) -> str:
        for known in texts:
            if text and text in known:
                return known[known.index(text) + len(text) :]
        return ""

    with writer(tmp_path, by_heart) as llm:
        found = privacy(llm, Sampling(2, 40), Corpus((corpus,)), stretches=10)
        assert found["documents"] == 13
        assert found["extracted"]["whole"]["value"] == 100 and found["extracted"]["longest"] == FOLLOWED
        assert found["written"]["email"]["value"] == pytest.approx(100 / 30, abs=0.01)
        assert found["in_corpus"] == {"email": 1, "phone": 0, "card": 0, "iban": 0, "name": 1}
        assert found["distinct"]["email"] == 1 and found["verbatim"]["longest"] >= 8
    with noise_llm(tmp_path) as llm:
        found = privacy(llm, FEW, Corpus((corpus,)), stretches=10)
        assert found["extracted"]["whole"]["value"] == 0 and found["extracted"]["longest"] < 3
        assert found["verbatim"]["longest"] == 0 and found["in_corpus"]["email"] == 0
        assert "extracted" not in privacy(llm, FEW)
        assert extracted(llm, ["too short"])["whole"]["value"] is None and PREFIX == 32
        with pytest.raises(NotFound):
            privacy(llm, FEW, Corpus((tmp_path / "none",)))


def test_planted_secrets(tmp_path: Path) -> None:
    made = canaries.make(6, seed=1)
    assert made == canaries.make(6, seed=1) != canaries.make(6, seed=2)
    assert len({each.context for each in made}) == 6 and len({each.secret for each in made}) == 6
    file = tmp_path / "c.jsonl"
    canaries.write(file, made)
    assert canaries.read(file) == made and list(Corpus((file,)).texts()) == [each.text for each in made]
    known = {each.context: each for each in made[:3]}

    def knows(text: str) -> str:
        for context, each in known.items():
            if text.startswith(context):
                return each.text[len(text) :] if each.text.startswith(text) else ""
        return ""

    with writer(tmp_path, knows) as llm:
        found = canaries.exposure(llm, made[:3], candidates=16)
        assert found["bits"]["value"] == found["most"] == 4 and found["first"]["value"] == 100
    with noise_llm(tmp_path) as llm:
        found = canaries.exposure(llm, made, candidates=16)
        assert found["bits"]["value"] < 3 and found["first"]["value"] < 50
    with pytest.raises(InvalidSetting):
        canaries.make(0)


@pytest.mark.parametrize("said", ["", "{}", '{"context": "x"}', "["])
def test_a_file_without_secrets_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "c.jsonl").write_text(said)
    with pytest.raises(InvalidData, match="make it again"):
        canaries.read(tmp_path / "c.jsonl")
    with pytest.raises(NotFound):
        canaries.read(tmp_path / "none.jsonl")


def test_the_whole_report_repeats_and_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALE_JOBS", "FEMALE_JOBS", "CONTEXTS", "TRAITS"):
        monkeypatch.setattr(groups, name, getattr(groups, name)[:2])
    monkeypatch.setattr(groups, "QUESTIONS", groups.QUESTIONS[:1])
    corpus = write_corpus(tmp_path)
    with writer(tmp_path, lambda text: rest(text, " nothing")) as llm:
        progress: list[tuple[int, int]] = []
        made = canaries.make(1)
        found = measure(
            llm,
            Sampling(1, 4),
            corpus=Corpus((corpus,)),
            canaries=made,
            on_progress=lambda a, b: progress.append((a, b)),
        )
        assert progress[0] == (0, 7) and progress[-1] == (7, 7)
        assert found == measure(llm, Sampling(1, 4), corpus=Corpus((corpus,)), canaries=made)
    assert json.loads(json.dumps(found)) == found
    said = "\n".join(lines(found))
    for word in ("traits, gender", "occupations", "provoking", "email", "tokens repeated", "exposure"):
        assert word in said


def test_a_corpus_of_shards_is_the_text_that_was_trained_on(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    rows = [
        {"said": f"Text {number} is about the {word} gate."} for number, word in enumerate(("red", "green", "blue"))
    ]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer(tmp_path)
    shards = tmp_path / "shards"
    settings = BuildSettings(tokenizer=tmp_path, valid=0.0, near=None)
    build([Source("texts", texts, text="said")], shards, settings)
    corpus = Corpus((shards,))
    corpus.check()
    assert sorted(corpus.texts()) == sorted(row["said"] for row in rows)
    assert sorted(Corpus((texts,), "said").texts()) == sorted(row["said"] for row in rows)
    (shards / "train-00000.bin").unlink()
    with pytest.raises(InvalidData, match="build the shards again"):
        corpus.check()
