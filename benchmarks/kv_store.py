"""What a second question on the same document costs after a restart: real processes, real files.

    python benchmarks/kv_store.py MODEL [--document 2048] [--question 24] [--answer 32] [--rounds 3] [--json FILE]

Four kinds of process, in turn, ``--rounds`` times:

    computes    no store: the document and the question are computed
    keeps       an empty store: the same, and what was computed is kept
    restarts    the store that was kept: the same question
    another     the store that was kept: another question, which nobody has asked before

Each says how long its first token took from the moment it was asked for (loading is not counted: it is the same for
all), how many of the prompt's tokens came from where, and which ids it answered: the same question must get the same
ids in all of them, and the other one those that it gets without a store. The first question of a process is also the
first use of its weights, which are mapped; with ``--warm`` each process answers a short question before. Ids are random
where the model has no text (``--text FILE`` reads one).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Json = dict[str, Any]
KINDS = ("computes", "keeps", "restarts", "another")


def prompts(llm: Any, arguments: argparse.Namespace) -> list[list[int]]:
    """Two questions on one document, as ids."""
    chance = random.Random(1)
    ids = [chance.randrange(1000, llm.vocab_size - 1000) for _ in range(arguments.document + 2 * arguments.question)]
    if arguments.text is not None:
        ids = llm.encode(arguments.text.read_text())[: len(ids)]
    document, rest = ids[: arguments.document], ids[arguments.document :]
    return [document + rest[: arguments.question], document + rest[arguments.question :]]


def ask(llm: Any, ids: list[int], answer: int) -> Json:
    began = time.perf_counter()
    params = llm.params(temperature=0.0, max_tokens=answer, ignore_eos=True)
    handle = llm.engine.submit(ids, params)  # tokens, not their text: of random weights some are no character
    first, tokens = 0.0, []
    for out in handle:
        first = first or time.perf_counter() - began
        tokens.append(out.token)
    return {"first": first, "ids": tokens, "prompt": len(ids), **handle.reuse._asdict()}


def child(arguments: argparse.Namespace) -> None:
    from ownlm.engine.llm import LLM

    store = None if arguments.child == "computes" else arguments.store
    began = time.perf_counter()
    settings = {} if arguments.kv_format is None else {"kv_format": arguments.kv_format}
    with LLM(arguments.model, context=arguments.context, store=store, **settings) as llm:
        loaded = time.perf_counter() - began
        first, other = prompts(llm, arguments)
        time.sleep(arguments.idle)
        if arguments.warm:
            ask(llm, other[-arguments.question :], 2)
        found = [ask(llm, other if arguments.child == "another" else first, arguments.answer)]
        if arguments.child == "computes":  # its document is in memory now: another path to what the other kind must say
            found.append(ask(llm, other, arguments.answer))
        counters = llm.stats().counters
        reading = {"tokens": counters.restored_tokens, "seconds": counters.restore_seconds}
    closed = time.perf_counter() - began - loaded
    print(json.dumps({"load": loaded, "asked": found, "restored": reading, "rest": closed}))


def run(kind: str, store: Path) -> Json:
    """One process."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", kind, "--store", str(store)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--document", type=int, default=2048)
    parser.add_argument("--question", type=int, default=24)
    parser.add_argument("--answer", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--context", type=int)
    parser.add_argument("--kv-format")
    parser.add_argument("--idle", type=float, default=0.5, help="seconds between loading and the first question")
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=KINDS)
    parser.add_argument("--store", type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    results: list[dict[str, Json]] = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            results.append({kind: run(kind, Path(folder)) for kind in KINDS})
            taken = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    asked = {kind: [each[kind]["asked"][0] for each in results] for kind in KINDS}
    median = {kind: statistics.median(each["first"] for each in asked[kind]) for kind in KINDS}
    same = len({tuple(each["ids"]) for kind in KINDS[:3] for each in asked[kind]}) == 1
    others = [*asked["another"], *(each["computes"]["asked"][1] for each in results)]
    same = same and len({tuple(each["ids"]) for each in others}) == 1
    restarted = asked["restarts"][-1]
    reading = statistics.median(each["restarts"]["restored"]["seconds"] for each in results)
    print(f"{arguments.model.name}: {restarted['prompt']} tokens of prompt, {taken / 1e6:.1f} MB kept")
    for kind in KINDS:
        sooner = f", {median['computes'] / median[kind]:.1f}x sooner" if kind in KINDS[2:] else ""
        last = asked[kind][-1]
        print(f"  {kind:9} first token after {median[kind]:.3f} s, {last['from_disk']} tokens from disk{sooner}")
    print(f"  reading them took {1000 * reading:.1f} ms; answers {'identical' if same else 'DIFFER'}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"model": arguments.model.name, "rounds": results}, indent=1) + "\n")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
