"""The large starter on a borrowed machine with a GPU, in one go: only pieces are carried there, only the end back.

    here    python recipes/starter_borrowed.py stage --out runs/starter --into runs/staged
            carry runs/staged (files of at most 20 MiB) and the source tree, in as many trips as it takes
    there   PYTHONPATH=src python recipes/starter_borrowed.py launch --staged runs/staged --out runs/there --budget 20
            which returns at once; PYTHONPATH=src python recipes/starter_borrowed.py look --out runs/there says how far
    here    carry runs/there/back home (files of at most 16 MiB), then
            python recipes/starter_borrowed.py land --back runs/back --out runs/starter
            python recipes/starter.py --out runs/starter --size large    goes on with packing, figures and card

There, Python 3.11 or newer with torch 2.9 or newer and NumPy is enough: nothing is compiled, tokenized or downloaded.
The clock sets the schedule, so that the run ends when it must; a run that was cut off goes on when launched again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starter_plan import LARGE, Plan, pretraining, tuning
from starter_train import trained

from ownlm.files import atomic_write
from ownlm.train.examples import FACTS, open_examples
from ownlm.train.packing import PackedRows
from ownlm.train.recipe import Opened

PIECE = 20 << 20
"""Bytes of a file that is carried there, at most."""
BACK = 16 << 20
"""Bytes of a file that is carried back, at most."""
PIECES = "pieces.json"
DONE = "done.json"


@dataclass(frozen=True)
class Ready:
    """Conversations that were rendered and tokenized at home, as data of a recipe."""

    train: Path
    valid: Path

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened:
        """See ``recipe.Data``."""
        train, valid = (PackedRows(open_examples(path), length, full=True) for path in (self.train, self.valid))
        return Opened(train, valid)


def stage(out: Path, into: Path, length: int) -> None:
    """Shards, tokenizer and tokenized conversations of ``out``, cut into pieces that ``pieces.json`` lists."""
    from ownlm.tokenizer import ChatTemplate
    from ownlm.train.chat_rows import chat_rows

    template = ChatTemplate.load(out / "shards")
    ready = out / "ready"
    for part in ("train", "valid"):
        found = chat_rows(
            [out / "tuning" / f"{part}.jsonl"], template, ready / "cache", length=length, too_long="leave_out"
        )
        (folder,) = (path.parent for path in (ready / "cache").glob(f"*/{FACTS}") if same(path, found.facts))
        shutil.copytree(folder, ready / part, dirs_exist_ok=True)
    files = {f"shards/{path.name}": path for path in sorted((out / "shards").iterdir()) if path.is_file()}
    files |= {f"ready/{p}/{path.name}": path for p in ("train", "valid") for path in sorted((ready / p).iterdir())}
    cut(files, into, PIECE)


def same(path: Path, facts: Any) -> bool:
    """Whether a folder of examples is the one with these facts."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return bool(found.get("fingerprint") == facts["fingerprint"])


def cut(files: dict[str, Path], into: Path, size: int) -> None:
    """Write files as pieces of at most ``size`` bytes, and ``pieces.json``, which puts them together again."""
    into.mkdir(parents=True, exist_ok=True)
    listed: dict[str, list[dict[str, str]]] = {}
    number = 0
    for name, path in files.items():
        listed[name] = []
        with path.open("rb") as file:
            while (data := file.read(size)) or not listed[name]:
                piece = f"piece-{number:04}"
                (into / piece).write_bytes(data)
                listed[name].append({"piece": piece, "sha256": hashlib.sha256(data).hexdigest()})
                number += 1
    with atomic_write(into / PIECES) as file:
        file.write(json.dumps(listed, indent=1).encode("utf-8"))


def joined(staged: Path, out: Path) -> None:
    """The files again. Raises SystemExit naming a piece that is missing or altered."""
    listed: dict[str, list[dict[str, str]]] = json.loads((staged / PIECES).read_text(encoding="utf-8"))
    for name, pieces in listed.items():
        with atomic_write(out / name, durable=False) as file:
            for piece in pieces:
                path = staged / piece["piece"]
                data = path.read_bytes() if path.is_file() else b""
                if hashlib.sha256(data).hexdigest() != piece["sha256"]:
                    raise SystemExit(f"{path} is {'altered' if path.is_file() else 'missing'}: carry it again")
                file.write(data)


def launch(staged: Path, out: Path, plan: Plan) -> None:
    """Put the pieces together and train in a process of its own, which outlives this one."""
    joined(staged, out)
    words = [sys.executable, __file__, "work", "--out", str(out)]
    words += ["--budget", str(plan.minutes), "--depth", str(plan.depth)]
    words += [] if plan.threads is None else ["--threads", str(plan.threads)]
    with (out / "log.txt").open("ab") as log, Path(os.devnull).open("rb") as nothing:
        there = {0: nothing, 1: log, 2: log}
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), number) for number, file in there.items()]
        process = os.posix_spawn(sys.executable, words, os.environ, file_actions=actions, setsid=True)
    (out / "pid").write_text(str(process))


def work(out: Path, plan: Plan) -> None:
    """Pretraining and tuning, then what goes back: weights in 16 bits, metrics, log."""
    trained(pretraining(plan, out), out / "pretrained")
    ready = Ready(out / "ready" / "train", out / "ready" / "valid")
    trained(tuning(plan, out, ready), out / "tuned")
    halved(out / "tuned" / "model", out / "tuned" / "half")
    files = {f"tuned/model/{path.name}": path for path in sorted((out / "tuned" / "half").iterdir())}
    files |= {f"{name}/metrics.jsonl": out / name / "metrics.jsonl" for name in ("pretrained", "tuned")}
    files["log.txt"] = out / "log.txt"
    cut({name: path for name, path in files.items() if path.is_file()}, out / "back", BACK)
    (out / DONE).write_text(json.dumps({"weights": plan.name}))


def halved(model: Path, target: Path) -> None:
    """A copy of the model's folder with its matrices in bfloat16, which four bits are made of as well."""
    from ownlm.publish import folder

    shutil.rmtree(target, ignore_errors=True)
    folder.write(model, target, "bf16")


def look(out: Path) -> None:
    """The last lines of the log."""
    print((out / "log.txt").read_text(encoding="utf-8", errors="replace")[-600:])  # noqa: T201
    print("done" if (out / DONE).is_file() else "not done")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("stage", "launch", "work", "look", "land"))
    parser.add_argument("--out", type=Path, default=Path("runs/starter"))
    parser.add_argument("--into", type=Path, help="stage: where the pieces go")
    parser.add_argument("--staged", type=Path, help="launch: where the pieces are")
    parser.add_argument("--back", type=Path, help="land: where what came back is")
    parser.add_argument("--budget", type=float, default=LARGE.minutes, help="minutes of training")
    parser.add_argument("--depth", type=int, default=LARGE.depth, help="layers; 2 for a dry run")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    plan = replace(LARGE, minutes=given.budget, depth=given.depth, threads=given.threads)
    for name in {"stage": ["into"], "launch": ["staged"], "land": ["back"]}.get(given.what, []):
        if getattr(given, name) is None:
            raise SystemExit(f"{given.what} needs --{name}")
    match given.what:
        case "stage":
            stage(given.out, given.into, plan.length)
        case "launch":
            launch(given.staged, given.out, plan)
        case "work":
            work(given.out, plan)
        case "look":
            look(given.out)
        case "land":
            joined(given.back, given.out)


if __name__ == "__main__":
    main()
