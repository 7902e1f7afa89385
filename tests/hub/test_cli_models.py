"""The four commands, on the model that ships and on a Hub on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from fake_hub import fake_hub

from ownlm import hub
from ownlm.cli import main


def test_pull_list_show_rm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    files = {path.name: path.read_bytes() for path in hub.resolve().iterdir() if path.is_file()}
    files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
    files["receipt.json"] = b'{"mean_kl": 0.01}'
    del files["SHA256SUMS"]
    with fake_hub({"org/enc": files}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))
        assert main(["pull", "org/enc"]) == 0
        path = Path(capfd.readouterr().out.strip())
        assert path == hub.resolve("org/enc")
    assert main(["list"]) == 0
    shown = capfd.readouterr().out
    assert "org/enc" in shown and "hub cache" in shown and "ships" in shown
    assert main(["show", "org/enc"]) == 0
    shown = capfd.readouterr().out
    for text in ("bert", "parameters        22,", "q8_0", "512 tokens", "apache-2.0", "receipt: mean_kl  0.01"):
        assert text in shown, text
    assert main(["show", "org/enc", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["quantization"] == "q8_0"
    assert main(["rm", "org/enc"]) == 0
    assert main(["show", "org/enc"]) == 2
    assert "ownlm pull org/enc" in capfd.readouterr().err
    assert main(["rm", "all-MiniLM-L6-v2-q8_0"]) == 2
    shutil.rmtree(tmp_path / "cache")
    assert main(["list", "--json"]) == 0
    assert [model["source"] for model in json.loads(capfd.readouterr().out)] == ["ships"] * len(hub.shipped())
