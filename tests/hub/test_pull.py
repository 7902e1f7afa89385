"""Pulling from a Hub on this machine: what is loaded, what is not, and what happens when it breaks off."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parent))
from fake_hub import COMMIT, FakeHub, fake_hub

from ownlm import hub as models
from ownlm.errors import CorruptModel, InvalidSetting, NotFound, OwnLMError, UnsupportedModel

WEIGHTS = bytes(range(256)) * 40
INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})
FILES = {
    "org/small": {
        "config.json": b"{}", "tokenizer.json": b"{}", "README.md": b"---\nlicense: mit\n---\n",
        "model.safetensors": WEIGHTS, "pytorch_model.bin": b"x" * 5000, "modeling_small.py": b"import os",
        "onnx/model.onnx": b"y" * 5000, "original/model.safetensors": b"z" * 5000, "notes.txt": b"",
    },
    "org/sharded": {
        "config.json": b"{}", "model.safetensors.index.json": INDEX.encode(),
        "model-00001-of-00002.safetensors": WEIGHTS + b"1", "model-00002-of-00002.safetensors": WEIGHTS + b"2",
    },
    "org/quants-GGUF": {
        "README.md": b"", "m-Q4_K.gguf": WEIGHTS + b"3", "m-Q4_K_M.gguf": WEIGHTS + b"4", "m-Q8_0.gguf": WEIGHTS + b"5",
        "mmproj-m.gguf": WEIGHTS, "big-00001-of-00002.gguf": WEIGHTS + b"6", "big-00002-of-00002.gguf": WEIGHTS + b"7",
    },
    "org/one-GGUF": {"only.gguf": WEIGHTS},
    "org/pickled": {"config.json": b"{}", "pytorch_model.bin": b"x" * 5000},
    "org/empty": {"README.md": b""},
    "org/hostile": {"config.json": b"{}", "../../evil/model.safetensors": b"", "model.safetensors": WEIGHTS},
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub(FILES) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        yield running


def test_only_what_is_needed_is_loaded(hub: FakeHub, tmp_path: Path) -> None:
    seen = []
    path = models.pull("org/small", on_progress=seen.append)
    assert sorted(file.name for file in path.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    assert (path / "model.safetensors").read_bytes() == WEIGHTS
    assert models.resolve("org/small") == models.resolve(f"org/small@{COMMIT}") == path
    assert path.is_relative_to(tmp_path / "cache")
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    assert seen[-1].done == seen[-1].total == sum(len(FILES["org/small"][file.name]) for file in path.iterdir())


def test_a_second_pull_loads_nothing(hub: FakeHub) -> None:
    path = models.pull("org/small")
    hub.requests.clear()
    assert models.pull("org/small") == path
    assert hub.downloads() == []
    hub.requests.clear()
    assert models.pull(f"org/small@{COMMIT}") == path
    assert hub.requests == []


def test_a_pull_that_broke_off_goes_on_where_it_was(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.break_after = 3500
    with pytest.raises(NotFound, match=r"cannot be reached, or broke off .*run the same command again"):
        models.pull("org/small")
    assert not (tmp_path / "cache/models--org--small/refs/main").exists()
    with pytest.raises(NotFound, match="ownlm pull org/small"):
        models.resolve("org/small")
    (partial,) = (tmp_path / "cache/models--org--small/blobs").glob("*.ownlm-incomplete")
    here = partial.stat().st_size
    assert here == 3000
    hub.break_after, hub.down = None, False
    hub.requests.clear()
    path = models.pull("org/small")
    assert ("model.safetensors", f"bytes={here}-") in hub.downloads()
    assert (path / "model.safetensors").read_bytes() == WEIGHTS
    assert not partial.exists()


def test_shards_and_a_missing_one(hub: FakeHub) -> None:
    path = models.pull("org/sharded")
    assert len(list(path.glob("*.safetensors"))) == 2
    (path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(NotFound, match="ownlm pull org/sharded"):
        models.resolve("org/sharded")
    assert models.pull("org/sharded") == path


def test_a_gguf_is_chosen_by_name(hub: FakeHub) -> None:
    path = models.pull("org/quants-GGUF:q8_0")
    assert path.name == "m-Q8_0.gguf"
    assert sorted(file.name for file in path.parent.iterdir()) == ["README.md", "m-Q8_0.gguf"]
    assert models.resolve("org/quants-GGUF") == path
    assert models.pull("org/quants-GGUF:Q4_K").name == "m-Q4_K.gguf"
    assert models.pull("org/quants-GGUF:Q4_K_M").name == "m-Q4_K_M.gguf"
    with pytest.raises(InvalidSetting, match="several GGUF files"):
        models.resolve("org/quants-GGUF")
    assert models.resolve("org/quants-GGUF:m-Q4_K").name == "m-Q4_K.gguf"
    whole = models.pull("org/quants-GGUF:big")
    assert whole.name == "big-00001-of-00002.gguf"
    assert (whole.parent / "big-00002-of-00002.gguf").is_file()
    assert models.pull("org/one-GGUF").name == "only.gguf"


@pytest.mark.parametrize(
    ("name", "kind", "about"),
    [
        ("org/quants-GGUF", InvalidSetting, r"choose a file.*m-Q4_K \(0\.00 GB\), m-Q4_K_M"),
        ("org/quants-GGUF:Q4", InvalidSetting, "choose a file"),
        ("org/quants-GGUF:Q2", NotFound, "has 'Q2' in its name.*m-Q8_0"),
        ("org/small:Q4", NotFound, "no GGUF files"),
        ("org/pickled", UnsupportedModel, r"pickles alone \(pytorch_model\.bin\)"),
        ("org/empty", NotFound, "no weights that can be read"),
        ("org/none", NotFound, "has no model org/none, or it is private.*HF_TOKEN"),
        ("org/small@v9", NotFound, "no revision 'v9'"),
        ("small", InvalidSetting, "give a Hub id"),
        ("../../x", InvalidSetting, "give a Hub id"),
        ("org/..", InvalidSetting, "give a Hub id"),
    ],
)
def test_what_cannot_be_pulled_says_why(
    hub: FakeHub, tmp_path: Path, name: str, kind: type[OwnLMError], about: str
) -> None:
    with pytest.raises(kind, match=about) as error:
        models.pull(name)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.safetensors")) + list(tmp_path.rglob("*.bin"))


def test_a_gated_model_says_where_its_terms_are(hub: FakeHub) -> None:
    hub.gated = True
    with pytest.raises(NotFound, match=r"org/small is gated.*/org/small and set HF_TOKEN"):
        models.pull("org/small")


def test_no_path_leads_out_of_the_cache(hub: FakeHub, tmp_path: Path) -> None:
    path = models.pull("org/hostile")
    assert {file.name for file in path.iterdir()} == {"config.json", "model.safetensors"}
    assert {child.name for child in tmp_path.iterdir()} <= {"cache", "home"}


def test_other_bytes_than_recorded_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.corrupt = True
    with pytest.raises(CorruptModel, match=r"model\.safetensors of org/small came with other bytes"):
        models.pull("org/small")
    assert not list((tmp_path / "cache").rglob("*incomplete"))
    hub.corrupt = False
    assert (models.pull("org/small") / "model.safetensors").read_bytes() == WEIGHTS


def test_no_network_is_said_plainly(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    models.pull(f"org/small@{COMMIT}")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotFound, match=r"http://127\.0\.0\.1:9 cannot be reached.*ownlm list") as error:
        models.pull("org/sharded")
    assert "\n" not in str(error.value)
    assert models.pull(f"org/small@{COMMIT}").is_dir()  # a commit that is here needs none


def test_a_full_disk_is_said_before_loading(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=50 << 20))
    with pytest.raises(OwnLMError, match=r"0\.00 GB more in .*, which has 0\.05 GB free"):
        models.pull("org/small")
    assert hub.downloads() == []


def test_list_and_remove(hub: FakeHub, tmp_path: Path) -> None:
    small = models.pull("org/small")
    models.pull("org/quants-GGUF:Q8_0")
    models.pull("org/quants-GGUF:Q4_K_M")
    own = tmp_path / "home/models/mine"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    found = {model.name: model for model in models.list_models()}
    assert found["org/small"].path == small
    assert found["org/small"].bytes > len(WEIGHTS)
    assert found["org/quants-GGUF:m-Q8_0"].bytes == len(WEIGHTS) + 1
    assert found["mine"].source == "made here"
    assert found["all-MiniLM-L6-v2-q8_0"].source == "ships"
    for model in found.values():
        assert models.resolve(model.name) == model.path
    assert models.remove("org/quants-GGUF:Q8_0") == len(WEIGHTS) + 1
    assert models.resolve("org/quants-GGUF").name == "m-Q4_K_M.gguf"
    assert models.remove("org/small") > len(WEIGHTS)
    assert models.remove("mine") == 2
    assert {model.name for model in models.list_models()} == {*models.shipped(), "org/quants-GGUF:m-Q4_K_M"}


def test_nothing_but_ours_is_removed(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    (tmp_path / "home/models").mkdir(parents=True)
    (tmp_path / "home/models/link").symlink_to(outside)
    monkeypatch.chdir(tmp_path)
    for name in (str(outside), "outside", "home", "home/models", ".", "..", "all-MiniLM-L6-v2-q8_0", "link"):
        with pytest.raises(InvalidSetting, match=r"delete it yourself|part of the package"):
            models.remove(name)
    with pytest.raises(NotFound, match="ownlm list"):
        models.remove("org/none")
    cached = models.pull("org/small")
    blobs = tmp_path / "cache/models--org--small"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    models.remove("org/small")
    assert (tmp_path / "elsewhere/blobs").is_dir()
    assert not cached.exists()
    assert (outside / "config.json").is_file()
