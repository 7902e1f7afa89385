"""``ownlm export``: a model in the form that others read, and the proof that it is the same model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownlm.cli.output import note, say
from ownlm.cli.texts import read_text

if TYPE_CHECKING:
    from ownlm.publish import Report


def export(
    model: Annotated[str, typer.Argument(help="A model folder, a GGUF file or a Hub id.", metavar="MODEL")],
    target: Annotated[Path, typer.Argument(help="A new folder, or a file NAME.gguf.", metavar="TARGET")],
    form: Annotated[
        str | None, typer.Option("--format", help="hf (a Hugging Face folder) or gguf. Default: by TARGET's name.")
    ] = None,
    quantize: Annotated[
        str | None, typer.Option("--quantize", help="Round matrices to q8_0 or q4_0; in GGUF also q4_k, q5_k, q6_k.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="Keep matrices in f32, f16 or bf16. Default: as they are.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="Merge this adapter (a folder of PEFT or MLX) into MODEL first.")
    ] = None,
    text: Annotated[
        Path | None, typer.Option("--text", help="Compare on this text, not on the one that ships.")
    ] = None,
) -> None:
    """Write a model as a Hugging Face folder or a GGUF file, which transformers, vLLM and llama.cpp read.

    Before it takes its name, the new model is compared with the old one: token ids of conversations and prompts,
    template, special tokens, settings, every weight, and logits. If something is another, nothing is written.
    """
    from ownlm import hub
    from ownlm.cli.eval_table import counting
    from ownlm.publish import steps
    from ownlm.publish.parity import SHIPPED_TEXT

    sample = read_text(text)
    name = text.name if text else SHIPPED_TEXT
    source = hub.resolve(model)
    note(f"writing {target}, and comparing it with {model}")
    with counting("comparing") as progress:
        report = steps.export(
            source, target, form=form, to=quantize, dtype=dtype, adapter=adapter,
            text=sample, text_name=name, on_progress=progress,
        )  # fmt: skip
    say(str(target))
    for line in parity_lines(report):
        say(line)


def parity_lines(report: Report, width: int = 13) -> list[str]:
    """The report for a person, under names of that width."""
    passed = [check.name for check in report.checks if check.name != "logits"]
    lines = [f"  {'parity':<{width}}{', '.join(passed)}"]
    return lines + [f"  {'logits':<{width}}{check.detail}" for check in report.checks if check.name == "logits"]
