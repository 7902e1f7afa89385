"""Losses of SFT and DPO against the library that others use, and what preference data may look like."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tuning_support import CALLED, TALK, TOOL, template, write_lines, write_tokenizer

sys.path.append(str(Path(__file__).parents[1] / "model"))
from tiny_families import save

from ownlm.errors import InvalidData, InvalidSetting
from ownlm.tokenizer import ChatTemplate
from ownlm.train.batch import IGNORED, collate
from ownlm.train.chat_rows import chat_rows
from ownlm.train.decoder import Decoder
from ownlm.train.dpo import Dpo, log_probabilities
from ownlm.train.lora import AdapterSettings, adapters, new_adapters
from ownlm.train.losses import cross_entropy
from ownlm.train.preference_data import Preferences
from ownlm.train.preference_rows import Pairs, preference_rows

transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
torch.set_num_threads(1)
BETA = 0.2
PAIRS: list[dict[str, Any]] = [
    {"messages": TALK[:1], "chosen": "the gate", "rejected": "nobody at all"},
    {"messages": TALK[:3], "chosen": TALK[3], "rejected": [{"role": "assistant", "content": "at five"}]},
    {"messages": TALK[2:3], "chosen": "at nine, at nine, at nine", "rejected": "no"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(save(tmp_path_factory.mktemp("model"), "qwen3", vocab_size=304))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatTemplate:
    return template(tmp_path_factory.mktemp("tokenizer"))


def loaded(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def moved(parameters: Any) -> None:
    """Away from the reference, the same on both sides."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(1.02)


def settings(kind: Any, out: Path, **more: Any) -> Any:
    return kind(output_dir=str(out), report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, **more)


def test_sft_ids_mask_and_loss_are_those_of_trl(folder: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": TALK}, {"messages": CALLED, "tools": [TOOL]}]
    found = chat_rows([write_lines(tmp_path / "a.jsonl", rows)], ChatTemplate.load(folder), tmp_path, length=400)
    trainer = trl.SFTTrainer(
        model=loaded(folder),
        args=settings(trl.SFTConfig, tmp_path, assistant_only_loss=True, per_device_train_batch_size=2, max_length=300),
        train_dataset=datasets.Dataset.from_list([{"messages": TALK}, {"messages": TALK[:2]}]),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
    )
    (first,) = (row for row in trainer.train_dataset if len(row["input_ids"]) == len(found[0].ids))
    assert first["input_ids"] == found[0].ids.tolist()
    assert first["labels"][1:] == found[0].targets[:-1].tolist()

    width = max(len(found[at].ids) for at in range(2))
    ids, labels, seen = (torch.full((2, width), value) for value in (0, IGNORED, 0))
    for at in range(2):
        row = found[at]
        ids[at, : len(row.ids)] = torch.from_numpy(row.ids)
        labels[at, 1 : len(row.ids)] = torch.from_numpy(row.targets[:-1])
        seen[at, : len(row.ids)] = 1
    batch = {"input_ids": ids, "labels": labels, "attention_mask": seen}
    theirs = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=(labels != IGNORED).sum())
    ours = cross_entropy(Decoder.load(folder), collate([found[0], found[1]]))
    assert ours.count == int((labels != IGNORED).sum())
    assert ours.sum.item() / ours.count == pytest.approx(theirs.item(), abs=1e-5)


def dpo_trainer(folder: Path, out: Path, **more: Any) -> Any:
    model = loaded(folder)
    moved(model.parameters())
    conversations = [{"prompt": TALK[:1], "chosen": TALK[1:2], "rejected": TALK[3:]}]
    return trl.DPOTrainer(
        model=model,
        ref_model=loaded(folder),
        args=settings(trl.DPOConfig, out, beta=BETA, per_device_train_batch_size=1, disable_dropout=True, **more),
        train_dataset=datasets.Dataset.from_list(conversations),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
    )


def padded(pairs: Pairs) -> dict[str, torch.Tensor]:
    """The pairs as TRL has them: all that are chosen, then all that are rejected."""
    examples = [pairs.examples[2 * at + side] for side in (0, 1) for at in range(len(pairs))]
    width = max(len(one.ids) for one in examples)
    ids, seen, learnt = (torch.zeros(len(examples), width, dtype=torch.long) for _ in range(3))
    for at, one in enumerate(examples):
        ids[at, : len(one.ids)] = torch.from_numpy(one.ids)
        seen[at, : len(one.ids)] = 1
        learnt[at, 1 : len(one.ids)] = torch.from_numpy((one.targets[:-1] != IGNORED).astype(np.int64))
    return {"input_ids": ids, "attention_mask": seen, "completion_mask": learnt}


def test_dpo_loss_and_gradient_are_those_of_trl(folder: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", PAIRS)
    data = Preferences((path,), reference="float32").open(folder, 200, tmp_path / "cache")
    batch = collate([data.train[at] for at in range(len(data.train))])
    model = Decoder.load(folder)
    moved(model.parameters())
    ours = Dpo(BETA)(model, batch)
    assert ours.count == len(PAIRS)
    (ours.sum / ours.count).backward()

    trainer = dpo_trainer(folder, tmp_path)
    pairs = preference_rows([path], ChatTemplate.load(folder), tmp_path / "cache", length=200)
    theirs = trainer.compute_loss(trainer.model, padded(pairs))
    theirs.backward()
    assert ours.sum.item() / ours.count == pytest.approx(theirs.item(), abs=1e-5)
    there = trainer.model.get_parameter("model.layers.0.mlp.down_proj.weight").grad
    (here,) = model.projections()["model.layers.0.mlp.down_proj"]
    assert here.weight is not None
    torch.testing.assert_close(here.weight.grad, there, rtol=1e-4, atol=1e-5 * float(there.abs().max()))
    assert 0 <= ours.metrics["preferred"] <= ours.count


def test_smoothing_counts_a_share_of_the_pairs_the_wrong_way_round(folder: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", PAIRS)
    data = Preferences((path,), reference="float32").open(folder, 200, tmp_path / "cache")
    batch = collate([data.train[at] for at in range(len(data.train))])
    model = Decoder.load(folder)
    moved(model.parameters())
    with torch.no_grad():
        plain, smooth = Dpo(BETA)(model, batch), Dpo(BETA, smoothing=0.1)(model, batch)
    # -log sigmoid(-m) is -log sigmoid(m) + m
    margin = plain.metrics["reward_chosen"] - plain.metrics["reward_rejected"]
    assert smooth.sum.item() == pytest.approx(plain.sum.item() + 0.1 * margin, rel=1e-5)


def test_adapters_are_their_own_reference(folder: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", PAIRS)
    given, own = (Preferences((path,), reference=known).open(folder, 200, tmp_path) for known in ("float32", ""))
    batches = [collate([data.train[at] for at in range(len(data.train))]) for data in (given, own)]
    model = Decoder.load(folder, frozen=True)
    with pytest.raises(InvalidSetting, match="reference"):
        Dpo()(model, batches[1])
    new_adapters(model, AdapterSettings(rank=2))
    start = Dpo()(model, batches[1])
    assert start.sum.item() == pytest.approx(3 * np.log(2), rel=1e-5)
    with torch.no_grad():
        for one in adapters(model).values():
            one.b.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    one, other = (Dpo()(model, batch) for batch in batches)
    assert one.sum.item() == pytest.approx(other.sum.item(), rel=1e-5)
    assert one.sum.item() != pytest.approx(start.sum.item(), rel=1e-3)
    other.sum.backward()
    assert all(part.grad is not None for each in adapters(model).values() for part in each.parameters())


def test_a_reference_is_worked_out_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", PAIRS)
    first = Preferences((path,), reference="float32").open(folder, 200, tmp_path)
    with torch.no_grad():
        row = first.train[0]
        expected = log_probabilities(Decoder.load(folder), collate([row]))
    np.testing.assert_allclose(row.reference, expected.numpy(), rtol=1e-5)
    monkeypatch.setattr(Decoder, "load", None)
    again = Preferences((path,), reference="float32").open(folder, 200, tmp_path)
    assert again.train[0].reference == row.reference


def test_only_the_answers_of_a_pair_are_learnt(chat: ChatTemplate, tmp_path: Path) -> None:
    named = {"input": {"messages": TALK[:3]}, "preferred_output": [TALK[3]], "non_preferred_output": [TALK[1]]}
    called = {"messages": CALLED[:1], "tools": [TOOL], "chosen": CALLED[1], "rejected": CALLED[1:]}
    found = preference_rows([write_lines(tmp_path / "a", [*PAIRS[1:2], named, called])], chat, tmp_path, length=700)
    assert len(found) == 3

    def said(index: int) -> str:
        row = found.examples[index]
        return chat.tokenizer.decode(row.targets[row.targets != IGNORED].tolist())

    call = '<tool_call>\n{"name": "open", "arguments": {"gate": 1}}\n</tool_call><|im_end|>'
    assert [said(at) for at in range(6)] == [
        "at nine<|im_end|>", "at five<|im_end|>", "at nine<|im_end|>", "the gate<|im_end|>",
        call, call + "it is open<|im_end|>",
    ]  # fmt: skip


BAD: list[tuple[dict[str, Any], str]] = [
    ({"messages": TALK[:1], "chosen": "a"}, "no answer 'rejected'"),
    ({"chosen": "a", "rejected": "b"}, "no list of messages"),
    ({**PAIRS[0], "weight": 2}, "has 'weight'"),
    ({**PAIRS[0], "rejected": PAIRS[0]["chosen"]}, "the same answer twice"),
    ({**PAIRS[0], "chosen": {"role": "user", "content": "x"}}, "does not begin"),
    ({**PAIRS[0], "chosen": 3}, "no answer 'chosen'"),
    ({"input": 3, "preferred_output": "a", "non_preferred_output": "b"}, "input that is no object"),
    ({**PAIRS[0], "messages": [3]}, "line 2"),
]


@pytest.mark.parametrize(("row", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_pair_is_named(row: dict[str, Any], said: str, chat: ChatTemplate, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [PAIRS[0], row])
    with pytest.raises(InvalidData, match=said) as raised:
        preference_rows([path], chat, tmp_path, length=200)
    assert raised.value.line == 2
    assert json.loads(path.read_text().splitlines()[0]) == PAIRS[0]


def test_a_pair_that_is_too_long(chat: ChatTemplate, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", PAIRS)
    sizes = preference_rows([path], chat, tmp_path, length=200).lengths
    room = int(sizes.max()) - 1
    with pytest.raises(InvalidData, match=f"both answers together, where a row holds {room}"):
        preference_rows([path], chat, tmp_path, length=room)
    found = preference_rows([path], chat, tmp_path, length=room, too_long="leave_out")
    assert len(found) == 3 - found.examples.facts["left_out"] == (sizes <= room).sum() > 0
    with pytest.raises(InvalidData, match="hold no pair of at most 9 tokens; 3 are longer"):
        preference_rows([path], chat, tmp_path, length=9, too_long="leave_out")


@pytest.mark.parametrize("wrong", [{"beta": 0}, {"smoothing": 0.5}])
def test_settings_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting):
        Dpo(**wrong)
