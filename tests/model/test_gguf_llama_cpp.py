"""llama.cpp reads what we write and continues a prompt with the same ids as transformers.

Skipped unless llama-cpp-python is installed here or in the environment whose Python ``OWNLM_LLAMA_CPP`` names.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from tiny_families import save

from ownlm.model.gguf.export import export

PYTHON = os.environ.get("OWNLM_LLAMA_CPP") or (sys.executable if importlib.util.find_spec("llama_cpp") else "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="llama-cpp-python is not installed, OWNLM_LLAMA_CPP not set")
PROMPT = [5, 17, 33, 60, 2, 9, 44, 71, 20, 11, 90, 3, *np.random.default_rng(0).integers(3, 96, 60).tolist()]
NEW = 16
SCRIPT = """
import json, sys
import numpy as np
from llama_cpp import Llama
model = Llama(sys.argv[1], n_ctx=256, logits_all=True, verbose=False, n_threads=2)
prompt = json.loads(sys.argv[2])
model.eval(prompt)
np.save(sys.argv[4], model.scores[: len(prompt)])
ids = []
for _ in range(int(sys.argv[3])):
    ids.append(int(np.argmax(model.scores[model.n_tokens - 1])))
    model.eval(ids[-1:])
print(json.dumps(ids))
"""


@pytest.mark.parametrize(
    "family", ["llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "granite", "gpt2"]
)
def test_llama_cpp_continues_alike(tmp_path: Path, family: str) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(save(tmp_path, family)).eval()
    export(tmp_path, tmp_path / "a.gguf", "f32")
    command = [
        PYTHON,
        "-c",
        SCRIPT,
        str(tmp_path / "a.gguf"),
        json.dumps(PROMPT),
        str(NEW),
        str(tmp_path / "logits.npy"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr[-2000:]
    ids = list(PROMPT)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
        for _ in range(NEW):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    # its cache keeps keys and values in fp16
    assert np.abs(np.load(tmp_path / "logits.npy") - logits).max() < 4e-3 * np.abs(logits).max()
    assert json.loads(found.stdout.splitlines()[-1]) == ids[len(PROMPT) :]
