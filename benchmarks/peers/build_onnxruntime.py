"""A model of onnxruntime-genai's in one of our shapes: its own builder, int4 in groups of 32, an 8-bit head.

    python build_onnxruntime.py SHAPE FOLDER      # a Python with onnxruntime-genai, torch, transformers, onnx-ir

Two graphs over the same weights: ``model.onnx`` gives the last token's logits, as generating needs; ``all/model.onnx``
gives all tokens', as checking drafts needs. Layers of the 7B shape share one layer's weights (113 MB at 4 bits, which
no cache holds): its builder wants the whole model in float32 in memory, 27 GB.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime_genai
import transformers

sys.path.insert(0, str(Path(onnxruntime_genai.__file__).parent / "models"))
sys.path.insert(0, str(Path(__file__).parent))
import random_torch

from shapes import SHAPES, Shape

TEMPLATE = 2  # layers that are built of a model whose further layers repeat the last of them


def build(shape: Shape, to: Path) -> None:
    """Run the builder on a model in memory."""
    builder = importlib.import_module("builder")
    shared = not shape.tied
    layers = TEMPLATE if shared else None
    with tempfile.TemporaryDirectory() as scratch:
        source = random_torch.folder(shape, Path(scratch) / "source", layers)
        made = random_torch.model(shape, layers)
        transformers.AutoModelForCausalLM.from_pretrained = lambda *args, **named: made
        options = [
            "block_size=32", "accuracy_level=4", "is_symmetric=true", "matmul_mixed_precision=last_matmul:int8",
            "prune_lm_head=true", "shared_embeddings=false", "hf_token=false",
        ]  # fmt: skip
        named = ("shape", str(source), str(to), "int4", "cpu", str(Path(scratch) / "cache"))
        builder.create_model(*named, **builder.parse_extra_options(*named, options))
    if shared:
        repeat(to, shape.layers)
    all_rows(to)


def all_rows(folder: Path) -> None:
    """The same graph with the head over all tokens, beside a link to the same weights."""
    (folder / "all").mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name != "model.onnx":
            os.link(path, folder / "all" / path.name)
    model = ir.load(folder / "model.onnx")
    head = next(node for node in model.graph if (node.name or "").startswith("/lm_head/MatMul"))
    norm = next(node for node in model.graph if "final_norm" in (node.name or ""))
    head.replace_input_with(0, norm.outputs[0])
    logits = next(value for value in model.graph.outputs if value.name == "logits")
    logits.shape = ir.Shape(["batch_size", "sequence_length", *list(logits.shape or ())[2:]])
    ir.save(model, folder / "all" / "model.onnx")


def repeat(folder: Path, layers: int) -> None:
    """Give the graph ``layers`` layers: the last one again and again, each with its own place in the cache."""
    path = folder / "model.onnx"
    model = ir.load(path)
    graph = model.graph
    last, before = TEMPLATE - 1, TEMPLATE - 2

    def renamed(name: str, by: int) -> str:
        for form in ("layers.{}/", "layers.{}.", "past_key_values.{}.", "present.{}."):
            for old in (last, before):
                if form.format(old) in name:
                    return name.replace(form.format(old), form.format(old + by))
        return name

    template = [node for node in graph if f"layers.{last}/" in (node.name or "")]
    values: dict[str, ir.Value] = {value.name: value for value in [*graph.inputs, *graph.initializers.values()]}
    values |= {out.name: out for node in graph for out in node.outputs if out.name}
    after = [node for node in graph if node not in template]
    for by in range(1, layers - TEMPLATE + 1):
        for node in template:
            inputs: list[Any] = []
            for value in node.inputs:
                if value is None or value.const_value is not None or value.name in graph.initializers:
                    inputs.append(value)  # weights are shared
                    continue
                name = renamed(value.name, by)
                if name not in values and value in graph.inputs:
                    values[name] = ir.Value(name=name, shape=value.shape, type=value.type)
                    graph.inputs.append(values[name])
                inputs.append(values[name])
            copy = ir.Node(
                node.domain, node.op_type, inputs, list(node.attributes.values()), overload=node.overload,
                num_outputs=len(node.outputs), name=renamed(node.name or "", by),
            )  # fmt: skip
            for old, new in zip(node.outputs, copy.outputs, strict=True):
                if old.name:
                    new.name, new.shape, new.type = renamed(old.name, by), old.shape, old.type
                    values[new.name] = new
                    if old in graph.outputs:
                        graph.outputs.append(new)
            graph.append(copy)
    by = layers - TEMPLATE
    for node in after:  # the final norm reads the new last layer
        for at, value in enumerate(node.inputs):
            if value is not None and f"layers.{last}/" in value.name and value.name not in graph.initializers:
                node.replace_input_with(at, values[renamed(value.name, by)])
    graph.sort()
    ir.save(model, folder / "new.onnx", external_data="new.onnx.data", size_threshold_bytes=0)
    (folder / "new.onnx").rename(path)
    (folder / "new.onnx.data").rename(folder / "new.onnx.data")
    (folder / "model.onnx.data").unlink()
    settings = json.loads((folder / "genai_config.json").read_text())
    settings["model"]["decoder"]["num_hidden_layers"] = layers
    (folder / "genai_config.json").write_text(json.dumps(settings))


def main() -> None:
    shape, to = SHAPES[sys.argv[1]], Path(sys.argv[2])
    if to.exists():
        shutil.rmtree(to)
    build(shape, to)


if __name__ == "__main__":
    main()
