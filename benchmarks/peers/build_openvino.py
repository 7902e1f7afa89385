"""A model of OpenVINO's in one of our shapes: optimum-intel's export, NNCF's 4-bit weights, an 8-bit head.

    python build_openvino.py SHAPE FOLDER      # a Python with openvino, nncf, optimum-intel

Two are written: FOLDER/32 with weights in groups of 32, as everybody else's here, and FOLDER/128 with groups of 128,
OpenVINO's own default. Layers of the 7B shape share one layer's weights (113 MB at 4 bits, which no cache holds), so
that making it needs little memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nncf
import openvino
import optimum.exporters.openvino.convert as convert
import torch

sys.path.insert(0, str(Path(__file__).parent))
import random_torch

from shapes import SHAPES, Shape


def build(shape: Shape, to: Path) -> None:
    """Export from memory; what would be written in 16 bits is compressed first."""

    def save(model: Any, path: Any, **_: Any) -> None:
        for group in (32, 128):
            small = nncf.compress_weights(
                model.clone(), mode=nncf.CompressWeightsMode.INT4_SYM, ratio=1.0, group_size=group,
                backup_mode=nncf.BackupMode.INT8_ASYM,
            )  # fmt: skip
            (to / str(group)).mkdir(parents=True, exist_ok=True)
            openvino.save_model(small, to / str(group) / "model.xml", compress_to_fp16=False)

    convert._save_model = save
    made = random_torch.model(shape, None if shape.tied else 1, torch.float16)
    if not shape.tied:
        made = repeated(made, shape)
    convert.export_from_model(
        made, to / "export", task="text-generation-with-past", stateful=True, patch_16bit_model=True
    )


def repeated(one: Any, shape: Shape) -> Any:
    """The whole shape with every layer's parameters those of the only layer of ``one``."""
    with torch.device("meta"):
        whole = type(one)(random_torch.config(shape)).to(torch.float16)
    source = dict(one.named_parameters())
    for name, _ in list(whole.named_parameters()):
        parts = name.split(".")
        shared = ".".join("0" if parts[at - 1] == "layers" else part for at, part in enumerate(parts))
        owner = whole.get_submodule(".".join(parts[:-1]))
        owner._parameters[parts[-1]] = source[shared]
    for part in whole.modules():
        if "RotaryEmbedding" in type(part).__name__:
            part.__init__(whole.config)
    return whole.eval()


if __name__ == "__main__":
    build(SHAPES[sys.argv[1]], Path(sys.argv[2]))
