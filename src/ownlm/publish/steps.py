"""The steps from one model to the next, each with the gate at its end: rounded to fewer bits, or written for others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ownlm import quant
from ownlm.errors import InvalidSetting, MissingExtra
from ownlm.formats import FORMATS
from ownlm.model import beside, checkpoint
from ownlm.model.block_policy import OUTER
from ownlm.model.gguf import export as gguf
from ownlm.publish import folder
from ownlm.publish.parity import SHIPPED_TEXT, Progress, gate
from ownlm.publish.report import Report
from ownlm.publish.staging import staged
from ownlm.publish.thresholds import PLAIN
from ownlm.quant.receipt import Receipt, stored_bytes

FORMS = ("hf", "gguf")


def quantize(
    source: Path,
    target: Path,
    to: str,
    *,
    text: str | None = None,
    text_name: str = SHIPPED_TEXT,
    on_progress: Progress | None = None,
) -> tuple[Receipt, Report]:
    """``quant.quantize``, judged: ``target`` is there only if the gate let it pass, with its receipt and its report.

    Raises what ``quant.quantize`` raises, and ParityBroken.
    """
    with staged(target) as made:
        quant.quantize(source, made, to)
        report = gate(source, made, step=to, text=text, text_name=text_name, on_progress=on_progress)
        receipt = _receipt(source, made, report)
    return receipt, report


def export(
    source: Path,
    target: Path,
    *,
    form: str | None = None,
    to: str | None = None,
    dtype: str | None = None,
    adapter: Path | None = None,
    text: str | None = None,
    text_name: str = SHIPPED_TEXT,
    on_progress: Progress | None = None,
) -> Report:
    """Write a model, folder or GGUF file, as a Hugging Face folder or a GGUF file, and judge it.

    ``form``: "hf" or "gguf", by default what the name of ``target`` says. ``to``: a block format to round to;
    ``dtype``: the type of matrices otherwise, None to keep each one's own. ``adapter``: the folder of one (PEFT, MLX)
    that is merged into the model first, which is a step of its own. Raises InvalidSetting for what cannot be
    asked for together, UnsupportedModel for what a form cannot state, ParityBroken if another model came out.
    """
    form = form or ("gguf" if target.suffix == ".gguf" else "hf")
    _check(form, target, to, dtype)
    with staged(target, "TARGET") as made, _merged(source, adapter, made, text, text_name) as source:
        if form == "gguf":
            _refuse_twice(source, to)
            gguf.export(source, made, to or dtype, dict.fromkeys(OUTER, "q8_0") if to else None, name=source.stem)
        elif to is not None:
            quant.quantize(source, made, to)
        else:
            folder.write(source, made, dtype)
        step = to or dtype or "export"
        report = gate(source, made, step=step, text=text, text_name=text_name, on_progress=on_progress)
        if to is not None:
            _receipt(source, made, report)
    return report


def merge(base: Path, adapter: Path, target: Path, *, text: str | None = None, text_name: str = SHIPPED_TEXT) -> Report:
    """Write the model ``base`` with an adapter merged into it to the new folder ``target``, and judge that.

    The reference is the base with the adapter computed beside it. Raises what ``load_adapters`` raises, ParityBroken,
    and MissingExtra without torch.
    """
    if base.is_file():
        raise InvalidSetting(
            "model", str(base), "adapters are merged into model folders: give the original of this file"
        )
    try:
        from ownlm.train.decoder import Decoder
        from ownlm.train.merge import write_merged
        from ownlm.train.peft_files import load_adapters
    except ModuleNotFoundError:
        raise MissingExtra("train", "torch") from None
    from ownlm.publish.runs import of_decoder

    model = Decoder.load(base, frozen=True)
    load_adapters(model, adapter)
    with staged(target) as made:
        made.mkdir()
        write_merged(model, made)
        beside.copy(base, made)
        return gate(of_decoder(model, base), made, step="merge", text=text, text_name=text_name)


@contextmanager
def _merged(source: Path, adapter: Path | None, made: Path, text: str | None, text_name: str) -> Iterator[Path]:
    """The model with the adapter merged, if there is one, for as long as it is needed."""
    if adapter is None:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix=".merged.", dir=made.parent) as folder:
        merged = Path(folder) / source.name
        merge(source, adapter, merged, text=text, text_name=text_name)
        yield merged


def _check(form: str, target: Path, to: str | None, dtype: str | None) -> None:
    if form not in FORMS:
        raise InvalidSetting("--format", form, f"give one of {', '.join(FORMS)}")
    if (form == "gguf") != (target.suffix == ".gguf"):
        raise InvalidSetting(
            "TARGET", str(target), f"the name of a {form} model {'ends' if form == 'gguf' else 'does not end'} in .gguf"
        )
    formats = tuple(FORMATS) if form == "gguf" else quant.TARGETS
    if to is not None and to not in formats:
        raise InvalidSetting("--quantize", to, f"give one of {', '.join(formats)}")
    if dtype is not None and dtype not in PLAIN:
        raise InvalidSetting("--dtype", dtype, f"give one of {', '.join(PLAIN)}")
    if to is not None and dtype is not None:
        raise InvalidSetting("--dtype", dtype, f"--quantize {to} says what matrices become: drop one of the two")


def _refuse_twice(source: Path, to: str | None) -> None:
    """Rounding what is rounded already adds one error to the other."""
    blocks = sorted(
        {tensor.format for tensor in checkpoint.load(source, verify=False).tensors.values() if tensor.format}
    )
    if to is not None and blocks and blocks != ["mxfp4"]:
        raise InvalidSetting("model", str(source), f"it is quantized already ({', '.join(blocks)}): give its original")


def _receipt(source: Path, made: Path, report: Report) -> Receipt:
    assert report.agreement is not None
    sizes = stored_bytes(checkpoint.load(source, verify=False), checkpoint.load(made, verify=False))
    receipt = Receipt.of(report.agreement, report.step, sizes, report.text)
    receipt.write(made)
    return receipt
