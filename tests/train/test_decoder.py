"""The decoder in training against transformers: every family's loss and gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parents[1] / "model"))
from tiny_families import FAMILIES, save  # noqa: E402

from ownlm.model import checkpoint  # noqa: E402
from ownlm.train import losses  # noqa: E402
from ownlm.train.batch import Row, collate  # noqa: E402
from ownlm.train.decoder import Decoder  # noqa: E402
from ownlm.train.losses import cross_entropy, token_losses, wanted  # noqa: E402

torch.set_num_threads(1)


def sequences(lengths: tuple[int, ...], seed: int = 3) -> list[Row]:
    """Rows of random ids, each predicted by those before it."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        ids = rng.integers(3, 96, length)
        rows.append(Row(ids, np.append(ids[1:], -100)))
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "m", family)
    rows = sequences((40, 23, 23))
    model = Decoder.load(folder, context=64)
    ours = cross_entropy(model, collate(rows))
    (ours.sum / ours.count).backward()

    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    total = torch.zeros(())
    for row in rows:
        ids = torch.from_numpy(row.ids)[None]
        logits = theirs(ids).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
    assert ours.count == 40 + 23 + 23 - 3
    assert ours.sum.item() == pytest.approx(total.item(), rel=1e-5)

    (total / ours.count).backward()
    gradients = dict(theirs.named_parameters())
    embedded = model.params.embed_tokens.projection.weight.grad
    expected = theirs.get_input_embeddings().weight.grad
    assert torch.allclose(embedded, expected, atol=2e-4 * expected.abs().max())
    checked = 0
    for name, parts in model.projections().items():
        if f"{name}.weight" in gradients and len(parts) == 1 and not parts[0].matrix.turned:
            grad = gradients[f"{name}.weight"].grad
            assert torch.allclose(parts[0].weight.grad, grad, atol=2e-4 * grad.abs().max()), name
            checked += 1
    assert checked or family == "gpt2"


@pytest.mark.parametrize("family", ["qwen3", "gpt2", "phi3", "gemma2", "gpt_oss"])
def test_weights_that_were_changed_are_the_ones_that_are_written(family: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "m", family)
    model = Decoder.load(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    rows = sequences((30,))
    before = cross_entropy(model, collate(rows)).sum.item()
    checkpoint.write(folder, model.tensors())
    again = cross_entropy(Decoder.load(folder), collate(rows)).sum.item()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.from_numpy(rows[0].ids)[None]
    reference = torch.nn.functional.cross_entropy(theirs(ids).logits[0, :-1], ids[0, 1:], reduction="sum").item()
    assert again == before
    assert before == pytest.approx(reference, rel=1e-5)


def test_the_chunked_loss_is_the_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Decoder.load(save(tmp_path / "m", "gemma2"))
    batch = collate(sequences((40, 37)))
    grads = []
    for how in ("fused", "chunks", "whole"):
        monkeypatch.setitem(losses.CHUNK, "cpu", 7)
        model.zero_grad()
        if how == "fused":
            total = cross_entropy(model, batch).sum
        else:
            hidden, targets = wanted(model(batch), batch.targets)
            if how == "chunks":
                total = token_losses(hidden, targets).sum()
            else:
                total = torch.nn.functional.cross_entropy(hidden.logits(), targets, reduction="sum")
        total.backward()
        grads.append([total.detach(), *(p.grad.clone() for p in model.parameters())])
    for fused, chunks, whole in zip(*grads, strict=True):
        assert torch.allclose(fused, whole, rtol=1e-5, atol=1e-5)
        assert torch.allclose(chunks, whole, rtol=1e-5, atol=1e-5)


def test_activations_can_be_computed_again(tmp_path: Path) -> None:
    model = Decoder.load(save(tmp_path / "m", "qwen3"))
    found = []
    for recompute in (False, True):
        model.recompute = recompute
        model.zero_grad()
        loss = cross_entropy(model, collate(sequences((40, 23)))).sum
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
