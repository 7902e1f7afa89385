"""The research decoder in training: its loss and gradients are the reference's; what is trained is what is served."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parents[1] / "model"))
import tiny_research  # noqa: E402

from ownlm.model import checkpoint  # noqa: E402
from ownlm.model.opened import open_to_read  # noqa: E402
from ownlm.train.batch import Row, collate  # noqa: E402
from ownlm.train.decoder import Decoder  # noqa: E402
from ownlm.train.dial import dial  # noqa: E402
from ownlm.train.losses import cross_entropy  # noqa: E402
from ownlm.train.modules import Projection, Rms  # noqa: E402
from ownlm.train.optim import Optimizer, OptimizerSettings, role_of  # noqa: E402

torch.set_num_threads(1)


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False, "final_logit_softcapping": None}])
def test_loss_and_every_gradient_are_the_references(changes: dict[str, object], tmp_path: Path) -> None:
    folder = tiny_research.save(tmp_path / "m", **changes)
    reference, model = tiny_research.Reference(folder), Decoder.load(folder)
    rows, total = [], torch.zeros(())
    for length in (40, 23, 23):
        ids = np.random.default_rng(length).integers(3, 96, length)
        rows.append(Row(ids, np.append(ids[1:], -100)))
        total = total + torch.nn.functional.cross_entropy(
            reference.logits(ids.astype(np.int32))[:-1], torch.from_numpy(ids[1:]), reduction="sum"
        )
    total.backward()
    ours = cross_entropy(model, collate(rows))
    ours.sum.backward()
    assert ours.sum.item() == pytest.approx(total.item(), rel=1e-5)
    checked = set()
    for part in model.modules():
        if isinstance(part, Projection) and part.name + ".weight" not in checked:
            name, gradient = part.name + ".weight", part.weight.grad
            expected = reference.gradient(name)
            assert torch.allclose(gradient, expected, atol=2e-4 * float(expected.abs().max())), name
            checked.add(name)
    matrices = {name for name, shape in tiny_research.shapes(reference.config).items() if len(shape) == 2}
    assert checked == matrices
    assert all(part.scale.grad.abs().max() > 0 for part in model.modules() if isinstance(part, Rms))


def test_what_was_trained_is_what_is_served(tmp_path: Path) -> None:
    derived = dial(2, 96, kind="ownlm", context=64)
    config = {**derived.shape.config(), "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2,
              "num_key_value_heads": 1, "head_dim": 32}  # fmt: skip
    model = Decoder.fresh(config, seed=1)
    optimizer = Optimizer(model.named_parameters(), OptimizerSettings(rates=derived.rates))
    optimizer.set_factor(1.0)
    ids = np.tile(np.random.default_rng(0).integers(3, 96, 9), 7)
    batch = collate([Row(ids[:-1], ids[1:])])
    losses = []
    for _ in range(30):
        found = cross_entropy(model, batch)
        (found.sum / found.count).backward()
        losses.append(found.sum.item() / found.count)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.5 * losses[0]
    (tmp_path / "config.json").write_text(json.dumps(config))
    checkpoint.write(tmp_path, model.tensors())
    with torch.no_grad():
        trained = model(batch).logits().numpy()
    for side, within in (("torch", 1e-4), ("native", 0.03)):  # whose keys and values are bfloat16
        served = open_to_read(tmp_path, checkpoint.load(tmp_path), side).read(ids[:-1].astype(np.int32))
        assert np.abs(served[:, :96] - trained[:, :96]).max() < within * trained.std(), side


def test_roles_and_operations() -> None:
    shape = dial(2, 64, kind="ownlm", context=64, tied=False).shape
    model = Decoder.fresh(shape.config(), seed=0)
    assert model.flops_per_token(64) == shape.flops_per_token(64)
    assert model.count() == shape.parameters().total
    roles = {name: role_of(name, parameter) for name, parameter in model.named_parameters()}
    assert {role for name, role in roles.items() if "value_embedding" in name} == {"value_embeddings"}
    assert roles["blocks.1.qkv.parts.3.weight"] == "matrices"
    assert roles["head.parts.0.weight"] == "head"
    assert set(roles.values()) == {"matrices", "embeddings", "value_embeddings", "head", "gains"}
