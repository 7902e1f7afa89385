"""``ownlm eval``: figures of a model, each with its interval, on public sets and by fixed rules."""

from __future__ import annotations

import json as codec
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownlm.cli.options import Json
from ownlm.cli.output import note, say, write_json

if TYPE_CHECKING:
    from ownlm.engine.llm import LLM
    from ownlm.evals.run import OnAnswer, Result

app = typer.Typer(no_args_is_help=True, help="Measure a model: a task, all that the starter's card shows, its safety.")
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Folder, GGUF file, name from `ownlm list`, or Hub id ORG/NAME.",
                             show_default="the model that ships")
]  # fmt: skip
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the public sets (docs/data.md).", show_default="OWNLM_DATA")
]
Out = Annotated[Path | None, typer.Option("--out", help="Write the figures to this JSON file, too.")]
Ops = Annotated[str, typer.Option(help="What computes: native, or torch.", hidden=True)]
# As in evals.catalog, whose modules are not imported before a task is wanted; a test holds the two together.
TASKS = {
    "squad2": "SQuAD 2.0: answers from a paragraph or a refusal, held by ask's grammar.",
    "squad2_free": "SQuAD 2.0, answers not held by a grammar.",
    "fairytale_qa": "FairytaleQA: questions about fairy tales, answered in own words.",
    "scitldr": "SciTLDR: abstracts of papers in one sentence, beside lead-1.",
    "sentence_polarity": "Sentences of movie reviews, positive or negative.",
    "movie_reviews": "Movie reviews, positive or negative.",
    "translate_en_es": "Python's documentation into Spanish, chrF.",
    "translate_en_fr": "Python's documentation into French, chrF.",
    "mbpp_lines": "Completion of lines of MBPP's programs.",
    "wikitext2": "WikiText-2, bits per byte.",
}


def _task(name: str, help: str) -> None:
    @app.command(name, help=help)
    def measure(
        model: Model = None,
        limit: Annotated[int | None, typer.Option(help="So many samples, always the same.", show_default="all")] = None,
        out: Out = None,
        answers: Annotated[
            Path | None, typer.Option(help="Write every answer with its score to this JSONL file.")
        ] = None,
        data: Data = None,
        json: Json = False,
        ops: Ops = "native",
    ) -> None:
        from ownlm.cli.eval_table import show
        from ownlm.evals.catalog import load_task
        from ownlm.evals.data import data_folder
        from ownlm.evals.results import check_writable, update

        folder, task = data_folder(data), load_task(name)
        for setting, path in (("--out", out), ("--answers", answers)):
            if path is not None:
                check_writable(setting, path)
        task.drawn(folder, limit)  # what is wrong with the data is told before a model is loaded
        with opened(model, ops) as llm, _writer(answers) as on_answer:
            found = measured(name, llm, folder, limit, on_answer)
            if out is not None:
                update(out, "tasks", {name: found.json()}, model=llm.name, fingerprint=llm.fingerprint)
        if json:
            write_json(found.json())
        else:
            show([found])


for _name, _help in TASKS.items():
    _task(_name, _help)


@app.command("starter")
def starter(model: Model = None, out: Out = None, data: Data = None, json: Json = False, ops: Ops = "native") -> None:
    """All tasks, each on a fixed part of its samples: the figures of the starter's card, for any model.

    They are written into evals.json beside the model, or to --out, and come out the same every time.
    """
    from ownlm.cli.eval_table import show
    from ownlm.evals.catalog import load_task
    from ownlm.evals.data import data_folder
    from ownlm.evals.results import check_writable, results_path, update
    from ownlm.evals.squad2 import earns_ask

    folder = data_folder(data)
    tasks = {name: load_task(name) for name in TASKS}
    if out is not None:
        check_writable("--out", out)
    for task in tasks.values():  # what is wrong with the data is told before a model is loaded
        task.drawn(folder, task.starter)
    with opened(model, ops) as llm:
        path = out or results_path(llm.path or Path(llm.name))
        check_writable("--out", path)
        found = {name: measured(name, llm, folder, task.starter) for name, task in tasks.items()}
        earned, why = earns_ask(found["squad2"])
        content = {name: result.json() for name, result in found.items()}
        whole = update(path, "tasks", content, model=llm.name, fingerprint=llm.fingerprint)
    note(f"written to {path}")
    if json:
        write_json(whole)
        return
    show(list(found.values()))
    say()
    say(f"As the default of ask: {'earned' if earned else 'not earned'}. {why}")


@contextmanager
def opened(model: str | None, ops: str = "native") -> Iterator[LLM]:
    """A model by its name; without one, the model that ships. Its remarks are shown."""
    from ownlm import hub
    from ownlm.cli.models import pull_progress
    from ownlm.engine.llm import LLM

    with pull_progress() as progress:
        llm = LLM(model or hub.starter(), ops=ops, on_progress=progress)
    with llm:
        for remark in llm.notes:
            note(f"note: {remark}")
        yield llm


def measured(name: str, llm: LLM, folder: Path, limit: int | None, on_answer: OnAnswer | None = None) -> Result:
    """One task, with progress on stderr and a remark on what was too long or cut."""
    from ownlm.cli.eval_table import counting
    from ownlm.evals.catalog import load_task
    from ownlm.evals.run import run

    with counting(name) as progress:
        found = run(load_task(name), llm, folder, limit=limit, on_progress=progress, on_answer=on_answer)
    if found.too_long:
        note(f"{name}: {found.too_long} of {found.samples} do not fit the context of {llm.context:,} tokens, and count "
             "as not answered")  # fmt: skip
    if found.cut:
        note(f"{name}: {found.cut} of {found.samples} answers were cut at {found.settings['max_tokens']} tokens")
    return found


@contextmanager
def _writer(path: Path | None) -> Iterator[Callable[[Any, str, Any], None] | None]:
    """Lines of JSON, complete or not there."""
    if path is None:
        yield None
        return
    from ownlm.evals.results import unwritable
    from ownlm.files import atomic_write

    try:
        with atomic_write(path) as file:

            def write(sample: Any, answer: str, score: Any) -> None:
                line = {"id": sample.id, "answer": answer, "references": sample.references, "score": score}
                file.write(codec.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

            yield write
    except OSError as error:
        raise unwritable("--answers", path, error) from error
