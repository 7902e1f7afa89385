"""``ownlm quantize``: fewer bits a weight, with a receipt of what that cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.models import size
from ownlm.cli.output import note, say


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
    quantized model make of the same text goes into the receipt, which `ownlm show` prints.
    """
    from ownlm import hub
    from ownlm.errors import InvalidSetting
    from ownlm.quant import measure
    from ownlm.quant import quantize as write

    if to not in ("q8_0", "q4_0"):
        raise InvalidSetting("--to", to, "give q8_0 or q4_0")
    if out is not None and gguf and out.suffix != ".gguf":
        raise InvalidSetting("--gguf", str(out), "the name given with --out does not end in .gguf: drop one of the two")
    sample = _read(text)
    source = hub.resolve(model)
    stem = source.stem if source.is_file() else Path(model).name
    suffix = ".gguf" if gguf or source.is_file() else ""
    target = out or hub.models_home() / f"{stem}-{to}{suffix}"
    note(f"quantizing {model} to {to}")
    write(source, target, to)
    note("reading a text with both, to measure what was lost")
    receipt = measure(source, target, to, text=sample, name=str(text) if text else "the text that ships")
    receipt.write(target)
    say(str(target))
    say(f"  weights      {size(receipt.bytes_before)} -> {size(receipt.bytes_after)}")
    say(f"  mean KL      {receipt.mean_kl:.4f} nats a token, over {receipt.tokens:,} tokens of {receipt.text}")
    say(f"  same top 1   {receipt.top1_agreement:.1%} of the tokens")
    say(
        f"  perplexity   {receipt.perplexity_before:.4g} -> {receipt.perplexity_after:.4g} "
        f"(x {receipt.perplexity_ratio:.4f})"
    )


def _read(path: Path | None) -> str | None:
    from ownlm.errors import InvalidSetting

    if path is None:
        return None
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting("--text", str(path), f"it cannot be read as UTF-8 text ({error})") from None
