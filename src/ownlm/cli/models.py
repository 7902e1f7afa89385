"""``ownlm pull|list|show|rm``: models on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownlm.cli.options import Json
from ownlm.cli.output import note, say, table, write_json

if TYPE_CHECKING:
    from ownlm.hub import Progress

SECONDS_BETWEEN_LINES = 5.0
Model = Annotated[
    str, typer.Argument(help="Hub id ORG/NAME[@REVISION][:PART], folder, GGUF file or name.", metavar="MODEL")
]


def pull(
    model: Annotated[
        str,
        typer.Argument(
            help="Hub id: ORG/NAME, ORG/NAME@REVISION, or ORG/NAME:PART to choose a GGUF file by its name.",
            metavar="MODEL",
        ),
    ],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.", show_default="main")] = None,
    json: Json = False,
) -> None:
    """Bring a model from the Hugging Face Hub, only the files needed; a pull that broke off goes on."""
    from ownlm import hub

    with pull_progress() as progress:
        path = hub.pull(model, revision=revision, on_progress=progress)
    if json:
        write_json({"model": model, "path": str(path)})
    else:
        say(str(path))


def list_models(json: Json = False) -> None:
    """The models on this machine and the room they take."""
    from ownlm import hub

    models = hub.list_models()
    if json:
        write_json([{**asdict(model), "path": str(model.path)} for model in models])
        return
    table([(model.name, size(model.bytes), model.source) for model in models], ("model", "size", "source"))


def show(model: Model, json: Json = False) -> None:
    """What a model is: architecture, weights by format, context, licence, quantization, receipt."""
    from ownlm import hub
    from ownlm.model.summary import summarize

    found = summarize(hub.resolve(model))
    if json:
        write_json({**asdict(found), "path": str(found.path)})
        return
    total = sum(found.bytes.values())
    formats = ", ".join(f"{name} {size(count)}" for name, count in found.bytes.items())
    rows = [
        ("path", str(found.path)),
        ("architecture", found.architecture),
        ("parameters", f"{found.parameters:,}"),
        ("weights", f"{size(total)} ({formats})"),
        ("context", f"{found.context:,} tokens" if found.context else "not stated"),
        ("licence", found.licence or "not stated"),
        ("quantization", found.quantization or "none"),
    ]
    if found.cache_bytes_per_token:
        others = ", ".join(f"{name} {size(count)}" for name, count in found.cache_formats.items())
        rows.insert(5, ("cache", f"{size(found.cache_bytes_per_token)} a token (--kv-format: {others})"))
    for name, value in (found.receipt or {}).items():
        rows.append((f"receipt: {name}", f"{value:.4g}" if isinstance(value, float) else str(value)))
    rows += _parity(found.parity, found.parity_holds)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")


def _parity(found: dict[str, Any] | None, holds: bool | None) -> list[tuple[str, str]]:
    """The gate's last report: which step, what was compared, and whether it is of the weights that are there."""
    if found is None:
        return []
    of = f"{found.get('step')} of {found.get('reference')}"
    rows = [("parity", of if holds else f"{of}, but the weights have changed since: it says nothing of them")]
    checks = found.get("checks")
    for check in checks if isinstance(checks, list) else []:
        if isinstance(check, dict):
            passed = "" if check.get("passed") else "NOT THE SAME: "
            rows.append((f"parity: {check.get('name')}", f"{passed}{check.get('detail')}"))
    return rows


def rm(model: Model) -> None:
    """Remove a model from the Hub's cache or from OwnLM's own folder, and nothing else."""
    from ownlm import hub

    freed = hub.remove(model)
    say(f"removed {model}, {size(freed)} freed")


def size(count: int) -> str:
    """
    >>> size(999), size(23_500_000), size(4_200_000_000)
    ('999 B', '23.5 MB', '4.2 GB')
    """
    if count < 1000:
        return f"{count} B"
    unit = "kB" if count < 1e6 else "MB" if count < 1e9 else "GB"
    return f"{count / {'kB': 1e3, 'MB': 1e6, 'GB': 1e9}[unit]:.1f} {unit}"


@contextmanager
def pull_progress() -> Iterator[Callable[[Progress], None]]:
    """Of a pull: a bar on a terminal, a line now and then elsewhere; on stderr."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def lines(step: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                note(f"pulling: {size(step.done)} of {size(step.total)}, {step.file}")

        yield lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("Pulling"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[file]}"),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, file="")

        def show(step: Progress) -> None:
            bar.update(task, total=step.total, completed=step.done, file=step.file.replace("[", r"\["))

        yield show
