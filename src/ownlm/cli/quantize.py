"""``ownlm quantize``: fewer bits a weight, with a receipt of what that cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.export import parity_lines
from ownlm.cli.models import size
from ownlm.cli.output import note, say
from ownlm.cli.texts import read_text


def quantize(
    model: Annotated[str, typer.Argument(help="A model folder, a GGUF file or a Hub id.", metavar="MODEL")],
    to: Annotated[str, typer.Option("--to", help="q8_0 (8.5 bits a weight) or q4_0 (4.5 bits).")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A new folder, or a file NAME.gguf. Default: among OwnLM's own models."),
    ] = None,
    gguf: Annotated[bool, typer.Option("--gguf", help="Without --out: write a GGUF file.")] = False,
    text: Annotated[
        Path | None, typer.Option("--text", help="Measure what was lost on this text, not on the one that ships.")
    ] = None,
) -> None:
    """Round a model's weights to fewer bits, and measure what was lost.

    Embeddings and head keep at least 8 bits; norms, biases and routers stay as they are. What the original and the
    quantized model make of the same text goes into the receipt; that nothing else changed, into the parity report.
    `ownlm show` prints both. A model that changed otherwise is not written.
    """
    from ownlm import hub
    from ownlm.cli.eval_table import counting
    from ownlm.errors import InvalidSetting
    from ownlm.publish import steps
    from ownlm.publish.parity import SHIPPED_TEXT

    if to not in ("q8_0", "q4_0"):
        raise InvalidSetting("--to", to, "give q8_0 or q4_0")
    if out is not None and gguf and out.suffix != ".gguf":
        raise InvalidSetting("--gguf", str(out), "the name given with --out does not end in .gguf: drop one of the two")
    sample = read_text(text)
    source = hub.resolve(model)
    stem = source.stem if source.is_file() else Path(model).name
    suffix = ".gguf" if gguf or source.is_file() else ""
    target = out or hub.models_home() / f"{stem}-{to}{suffix}"
    note(f"quantizing {model} to {to}, and reading a text with both, to measure what was lost")
    name = text.name if text else SHIPPED_TEXT
    with counting("comparing") as progress:
        receipt, report = steps.quantize(source, target, to, text=sample, text_name=name, on_progress=progress)
    say(str(target))
    say(f"  weights      {size(receipt.bytes_before)} -> {size(receipt.bytes_after)}")
    say(f"  mean KL      {receipt.mean_kl:.4f} nats a token, over {receipt.tokens:,} tokens of {receipt.text}")
    say(f"  same top 1   {receipt.top1_agreement:.1%} of the tokens")
    say(
        f"  perplexity   {receipt.perplexity_before:.4g} -> {receipt.perplexity_after:.4g} "
        f"(x {receipt.perplexity_ratio:.4f})"
    )
    say(parity_lines(report)[0])
