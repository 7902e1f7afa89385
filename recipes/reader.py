"""Train the reader: which sentence of a passage answers the question, or that none does.

    python recipes/reader.py train --init FOLDER     # OWNLM_DATA names the data; runs/reader; resumes by itself
    python recipes/reader.py export --init FOLDER    # runs/reader ──> the folder that ships, in Q8_0, with a receipt

The trunk starts from all-MiniLM-L6-v2 (FOLDER holds its official float32 weights) with the word embeddings as they ship
in Q8_0, which stay fixed, so that reader and embedder share one table. Input: [CLS] question [SEP] title, newline,
sentences [SEP], types 0 and 1. A sentence's score is a linear function of the mean of its tokens' last states, "none of
them" one of the state of [CLS]; the loss is minus the log of the share that softmax gives to what is right.

One pass, AdamW, linear warm-up and decay. One thread: a run repeats to the bit, interrupted or not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from convert_minilm import record
from reader_examples import Example, adversarial, covid, fairytales, qed, squad
from reader_tables import table_examples
from tokenizers import Tokenizer
from transformers import BertModel

from ownlm import hub
from ownlm.engine.reader import MODEL, TABLE
from ownlm.engine.reader import Reader as Runtime
from ownlm.files import atomic_write
from ownlm.formats import q8_0
from ownlm.model import safetensors

SEED = 11
BATCH = 32
SORTED = 16
"""Batches are sorted by length within groups of this many, so that little is padding."""
RATE, HEAD_RATE = 1.5e-4, 1e-3
WARM_UP = 60
LONGEST = 256
HELD_OUT = 500
SAVE_EVERY = 100


class Reader(torch.nn.Module):
    """The trunk and two linear heads."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.trunk = BertModel.from_pretrained(folder, add_pooling_layer=False)
        self.sentence = torch.nn.Linear(self.trunk.config.hidden_size, 1)
        self.nothing = torch.nn.Linear(self.trunk.config.hidden_size, 1)
        for head in (self.sentence, self.nothing):
            torch.nn.init.normal_(head.weight, std=0.02)
            torch.nn.init.zeros_(head.bias)
        table = self.trunk.embeddings.word_embeddings.weight
        table.data = torch.from_numpy(q8_0.dequantize(q8_0.quantize(table.detach().numpy())))
        table.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0

    def forward(self, batch: list[Row]) -> torch.Tensor:
        """float32 [rows, 1 + sentences]: the score of "none", then of each sentence; padding is very low."""
        longest = max(len(row.ids) for row in batch)
        most = max(len(row.spans) for row in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
        pool = torch.zeros(len(batch), most, longest)
        real = torch.zeros(len(batch), most, dtype=torch.bool)
        for i, row in enumerate(batch):
            ids[i, : len(row.ids)] = torch.tensor(row.ids)
            mask[i, : len(row.ids)] = 1
            types[i, row.question : len(row.ids)] = 1
            for j, (a, b) in enumerate(row.spans):
                pool[i, j, a:b] = 1 / (b - a)
                real[i, j] = True
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = self.trunk(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        states = states.float()
        scores = self.sentence(torch.bmm(pool, states)).squeeze(-1).masked_fill(~real, -1e4)
        return torch.cat([self.nothing(states[:, 0]), scores], 1)


class Row:
    """An example as ids: ``question`` ids come first, and each span is a range of ids."""

    def __init__(self, tokenizer: Tokenizer, made: Example) -> None:
        head = [101, *tokenizer.encode(made.question, add_special_tokens=False).ids[:64], 102]
        start = made.spans[0][0]
        before = f"{made.title}\n" if made.title else ""
        found = tokenizer.encode(before + made.text[start : made.spans[-1][1]], add_special_tokens=False)
        self.question = len(head)
        self.ids = [*head, *found.ids, 102]
        begins = np.array([a for a, _ in found.offsets])
        ends = np.array([b for _, b in found.offsets])
        shift = len(before) - start
        self.spans, self.gold = [], []
        for (a, b), gold in zip(made.spans, made.gold, strict=True):
            first, last = (
                int(np.searchsorted(ends, a + shift, "right")),
                int(np.searchsorted(begins, b + shift, "left")),
            )
            if first < last:
                self.spans.append((first + len(head), last + len(head)))
                self.gold.append(gold)


def right(batch: list[Row], width: int) -> torch.Tensor:
    """bool [rows, width]: what answers; "none" where nothing does."""
    wanted = torch.zeros(len(batch), width, dtype=torch.bool)
    for i, row in enumerate(batch):
        wanted[i, 0] = not any(row.gold)
        wanted[i, 1 : len(row.gold) + 1] = torch.tensor(row.gold)
    return wanted


def loss_of(scores: torch.Tensor, batch: list[Row]) -> torch.Tensor:
    """-log of the probability of what is right, the mean over the rows."""
    wanted = right(batch, scores.shape[1])
    return (torch.logsumexp(scores, 1) - torch.logsumexp(scores.masked_fill(~wanted, -1e4), 1)).mean()


def rows_of(data: Path, tokenizer: Tokenizer, scale: float) -> list[Row]:
    """The examples in the order of training, those held out first."""
    rng = random.Random(SEED)  # noqa: S311  (no secret is made)
    made = [*squad(rng, data, int(42000 * scale)), *qed(rng, data, int(7000 * scale))]
    made += [*fairytales(rng, data, int(6000 * scale)), *table_examples(rng, int(4000 * scale))]
    made += [*adversarial(rng, data), *covid(rng, data)]
    found = [Row(tokenizer, each) for each in made if each]
    found = [row for row in found if row.spans and len(row.ids) <= LONGEST]
    rng.shuffle(found)
    return found


def batches_of(found: list[Row]) -> list[list[Row]]:
    """Every row once."""
    rng = random.Random(SEED)  # noqa: S311  (no secret is made)
    made: list[list[Row]] = []
    for start in range(0, len(found), BATCH * SORTED):
        group = sorted(found[start : start + BATCH * SORTED], key=lambda row: len(row.ids))
        parts = [group[i : i + BATCH] for i in range(0, len(group), BATCH)]
        rng.shuffle(parts)
        made += parts
    return made


def measured(model: Reader, held: list[Row]) -> dict[str, float]:
    """Over rows held out: how often the best of all scores is right, where something answers and where nothing does."""
    hits: dict[bool, list[bool]] = {True: [], False: []}
    losses = []
    with torch.no_grad():
        for start in range(0, len(held), 50):
            batch = held[start : start + 50]
            scores = model(batch)
            losses.append(loss_of(scores, batch).item())
            wanted = right(batch, scores.shape[1])
            for i, row in enumerate(batch):
                hits[any(row.gold)].append(bool(wanted[i, scores[i].argmax()]))
    return {
        "loss": float(np.mean(losses)),
        "answered": float(np.mean(hits[True])),
        "refused": float(np.mean(hits[False])),
    }


def train(init: Path, out: Path, data: Path, scale: float) -> None:
    """Train, or go on from the checkpoint in ``out``; at the end ``out/reader.pt`` and ``out/metrics.json``."""
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(init / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found = rows_of(data, tokenizer, scale)
    held, batches = found[:HELD_OUT], batches_of(found[HELD_OUT:])
    model = Reader(init)
    heads = [*model.sentence.parameters(), *model.nothing.parameters()]
    trunk = [p for p in model.trunk.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": trunk, "lr": RATE}, {"params": heads, "lr": HEAD_RATE}], weight_decay=0.01, betas=(0.9, 0.98)
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    state_file, first = out / "state.pt", 0
    if state_file.exists():
        state: dict[str, Any] = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    began, losses = time.monotonic(), []
    for step in range(first, len(batches)):
        share = min(1, (step + 1) / WARM_UP) * (1 - step / len(batches))
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * share
        loss = loss_of(model(batches[step]), batches[step])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*trunk, *heads], 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 10 == 0:
            left = (time.monotonic() - began) / (step + 1 - first) * (len(batches) - step - 1)
            print(  # noqa: T201
                f"step {step + 1}/{len(batches)}  loss {np.mean(losses[-50:]):.3f}  {left / 60:.0f} min left",
                flush=True,
            )
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == len(batches):
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            with atomic_write(state_file) as file:
                torch.save(saved, file)
    metrics = {"rows": len(found), "steps": len(batches), **measured(model, held)}
    print(metrics)  # noqa: T201
    with atomic_write(out / "reader.pt") as file:
        torch.save(model.state_dict(), file)
    with atomic_write(out / "metrics.json") as file:
        file.write(json.dumps(metrics, indent=2).encode())


def export(out: Path, target: Path) -> None:
    """Write what was trained as the folder that ships: linear weights in Q8_0, the word embeddings the embedder's."""
    state = {name: tensor.numpy() for name, tensor in torch.load(out / "reader.pt", weights_only=True).items()}
    stored: dict[str, tuple[str, np.ndarray]] = {}
    for name, values in state.items():
        short = name.removeprefix("trunk.")
        if short == TABLE or short.endswith("position_ids"):
            continue
        quantized = short.startswith("encoder.") and values.ndim == 2
        stored[short] = ("U8", q8_0.quantize(values)) if quantized else ("F32", values.astype(np.float32))
    safetensors.write(target / "model.safetensors", stored)
    config = json.loads((hub.shipped_folder(hub.DEFAULT) / "config.json").read_bytes())
    config |= {"architectures": ["OwnLMReader"], "word_embeddings_of": hub.DEFAULT}
    recipe = {"script": "recipes/reader.py", "metrics": json.loads((out / "metrics.json").read_bytes())}
    for name, value in (("config.json", config), ("recipe.json", recipe)):
        with atomic_write(target / name) as file:
            file.write((json.dumps(value, indent=2, sort_keys=True) + "\n").encode())
    for name in ("README.md", "NOTICE"):
        with atomic_write(target / name) as file:
            file.write((Path(__file__).parent / "reader" / name).read_bytes())


def receipt(init: Path, out: Path, target: Path, data: Path) -> None:
    """What Q8_0 cost: the rows held out, by the weights as they were trained and by those that ship, on our kernels."""
    tokenizer = Tokenizer.from_file(str(init / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    held = rows_of(data, tokenizer, 1.0)[:HELD_OUT]
    model = Reader(init)
    model.load_state_dict(torch.load(out / "reader.pt", weights_only=True))
    shipped = Runtime.load(target)
    counts = {"rows": len(held), "same_best": 0, "right_before": 0, "right_after": 0}
    worst = 0.0
    with torch.no_grad():
        for row in held:
            before = model([row])[0].numpy()
            before = before[1:] - before[0]
            after = shipped.scores(row.ids, row.question, row.spans)
            worst = max(worst, float(np.abs(before - after).max()))
            wanted = right([row], len(row.spans) + 1)[0].numpy()
            best = [int(np.argmax(np.concatenate([[0.0], scores]))) for scores in (before, after)]
            counts["same_best"] += best[0] == best[1]
            counts["right_before"] += bool(wanted[best[0]])
            counts["right_after"] += bool(wanted[best[1]])
    with atomic_write(target / "receipt.json") as file:
        file.write((json.dumps({"format": "q8_0", **counts, "largest_difference": worst}, indent=2) + "\n").encode())
    record(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["train", "export"])
    parser.add_argument("--init", type=Path, help="folder of all-MiniLM-L6-v2 with float32 weights")
    parser.add_argument("--out", type=Path, default=Path("runs/reader"))
    parser.add_argument("--target", type=Path, default=hub.shipped_folder(MODEL), help="where export writes")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data, for a trial")
    given = parser.parse_args()
    if given.action == "export":
        export(given.out, given.target)
    if given.init is None:
        parser.error("give --init")
    if given.action == "export":
        receipt(given.init, given.out, given.target, Path(os.environ["OWNLM_DATA"]))
        sys.exit()
    train(given.init, given.out, Path(os.environ["OWNLM_DATA"]), given.scale)
