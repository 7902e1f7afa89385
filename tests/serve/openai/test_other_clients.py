"""Other real clients, each in a process of its own: an older ``openai``, ``langchain-openai``, and ``lm-eval``.

They bring versions of libraries that would not sit beside ours: ``OWNLM_OLD_OPENAI``, ``OWNLM_LANGCHAIN`` and
``OWNLM_LM_EVAL`` name folders that ``pip install --target`` filled (``.ci/run`` does); without them these tests skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openai_fixtures import Served


def run(variable: str, program: str, *words: str) -> dict[str, object]:
    """What a program prints, with a folder of packages before all others."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is not set: a folder made with pip install --target")
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": folder, "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1",
             "HF_DATASETS_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_an_older_openai_client(served: Served) -> None:
    found = run(
        "OWNLM_OLD_OPENAI",
        """
import json, sys, openai
client = openai.OpenAI(base_url=sys.argv[1], max_retries=0, timeout=60)
ask = dict(model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=8, temperature=0)
whole = client.chat.completions.create(**ask)
text = "".join(c.choices[0].delta.content or "" for c in client.chat.completions.create(**ask, stream=True))
tool = {"type": "function", "function": {"name": "clock"}}
call = client.chat.completions.create(**{**ask, "max_tokens": 90}, tools=[tool], tool_choice="required").choices[0]
vector = client.embeddings.create(model="all-MiniLM-L6-v2-q8_0", input="a gate").data[0].embedding
print(json.dumps({"version": openai.__version__, "same": text == whole.choices[0].message.content,
                  "call": call.message.tool_calls[0].function.name, "vector": len(vector)}))
""",
        served.base,
    )
    assert str(found["version"]).startswith("1.")
    assert (found["same"], found["call"], found["vector"]) == (True, "clock", 384)


def test_langchain(served: Served) -> None:
    found = run(
        "OWNLM_LANGCHAIN",
        """
import json, sys
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="tiny", base_url=sys.argv[1], max_tokens=8, temperature=0)
whole = model.invoke("Hello")
text = "".join(chunk.content for chunk in model.stream("Hello"))
schema = {"type": "object", "properties": {"zone": {"enum": ["utc", "cet"]}}, "required": ["zone"],
          "additionalProperties": False}
clock = {"type": "function", "function": {"name": "clock", "description": "The time.", "parameters": schema}}
longer = ChatOpenAI(model="tiny", base_url=sys.argv[1], max_tokens=400, temperature=0)
call = longer.bind_tools([clock], tool_choice="clock").invoke("?")
print(json.dumps({"same": text == whole.content, "tokens": whole.usage_metadata["output_tokens"],
                  "calls": [c["name"] for c in call.tool_calls], "whole": repr(call)}))
""",
        served.base,
    )
    assert found["same"] is True and 1 <= int(str(found["tokens"])) <= 8 and found["calls"] == ["clock"], found


def test_lm_eval(served: Served, model_folder: Path, tmp_path: Path) -> None:
    """A multiple-choice task made here: the harness finds over HTTP what the model itself says."""
    rows = [
        {"question": f"Question {n}: the gate is", "choices": ["open", "shut", "green"], "answer": n % 3}
        for n in range(6)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "gates.yaml").write_text(
        f"task: gates\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {tmp_path}/rows.jsonl\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: question\ndoc_to_choice: choices\n"
        "doc_to_target: answer\nmetric_list:\n  - metric: acc\n"
    )
    found = run(
        "OWNLM_LM_EVAL",
        """
import json, sys, lm_eval
from lm_eval.tasks import TaskManager
base, folder, tasks = sys.argv[1:]
result = lm_eval.simple_evaluate(
    model="local-completions",
    model_args=dict(model="tiny", base_url=base + "/completions", tokenizer_backend="huggingface", tokenizer=folder,
                    num_concurrent=1, max_length=512),
    tasks=["gates"], task_manager=TaskManager(include_path=tasks, include_defaults=False), log_samples=True)
samples = [[float(r[0][0]) for r in s["resps"]] for s in sorted(result["samples"]["gates"], key=lambda s: s["doc_id"])]
print(json.dumps({"scores": samples, "acc": result["results"]["gates"]["acc,none"]}))
""",
        served.base, str(model_folder), str(tmp_path),
    )  # fmt: skip
    ours, right = [], 0
    for row in rows:
        scores = []
        for choice in row["choices"]:  # type: ignore[attr-defined]
            before, whole = (served.llm.encode(text) for text in (row["question"], f"{row['question']} {choice}"))
            output = served.llm.generate(whole, max_tokens=1, prompt_logprobs=0)
            assert output.prompt_logprobs is not None
            scores.append(sum(score[0] for score in output.prompt_logprobs[len(before) :] if score is not None))
        ours.append(scores)
        right += scores.index(max(scores)) == row["answer"]
    for mine, theirs in zip(ours, found["scores"], strict=True):  # type: ignore[call-overload]
        assert theirs == pytest.approx(mine, rel=1e-4)
    assert found["acc"] == pytest.approx(right / len(rows))
