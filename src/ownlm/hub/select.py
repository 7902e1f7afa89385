"""Which files of a repository a model needs. Never code, never pickles: neither is read by anything here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from ownlm.errors import InvalidSetting, NotFound, UnsupportedModel

# Small files beside the weights; README.md says the licence.
BESIDE = frozenset(
    {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
        "chat_template.jinja", "chat_template.json", "modules.json", "sentence_bert_config.json",
        "1_Pooling/config.json", "recipe.json", "receipt.json", "evals.json", "SHA256SUMS", "README.md",
        "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE",
    }
)  # fmt: skip
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_NO_MODEL = re.compile(r"mmproj|imatrix", re.IGNORECASE)
_SHOWN = 40
Sizes = Mapping[str, int]


def select(id_: str, files: Sizes, wanted: str | None) -> list[str]:
    """The files to pull from a repository that has ``files`` (name to bytes), the small ones first.

    Without ``wanted``: the safetensors weights, else the only GGUF there is. With it: the GGUF whose name has it.
    Raises NotFound if there are no weights, UnsupportedModel if they are pickles, InvalidSetting for an open choice.
    """
    safe = [name for name in files if _is_inside(name)]
    beside = sorted(name for name in safe if name in BESIDE)
    weights = sorted(name for name in safe if _WEIGHTS.fullmatch(name))
    ggufs = _ggufs(safe)
    if wanted is None and any(name.endswith(".safetensors") for name in weights):
        return beside + weights
    if ggufs:
        return beside + ggufs[_choose(id_, ggufs, files, wanted)]
    if wanted is not None:
        raise NotFound(f"{id_} has no GGUF files; leave out {wanted!r}")
    pickles = sorted(name for name in files if name.endswith(_PICKLES))
    if pickles:
        raise UnsupportedModel(
            f"{id_} has its weights as pickles alone ({pickles[0]}), which can run code when they are opened: "
            "choose a repository with safetensors or GGUF"
        )
    raise NotFound(f"{id_} has no weights that can be read here (model.safetensors or *.gguf at its top)")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _ggufs(names: list[str]) -> dict[str, list[str]]:
    """GGUF models by name without ending; one in several files is one model. Folders may hold some, too."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if name.endswith(".gguf") and not _NO_MODEL.search(name):
            found.setdefault(_SHARD.sub("", name).removesuffix(".gguf"), []).append(name)
    return found


def _choose(id_: str, ggufs: Mapping[str, list[str]], files: Sizes, wanted: str | None) -> str:
    if wanted is None:
        matching = list(ggufs)
    else:
        low = wanted.lower().removesuffix(".gguf")
        matching = [name for name in ggufs if low in name.lower()]
        # Q4_K is in Q4_K_M too: a match up to a border goes first, a whole name before that.
        ends = [name for name in matching if re.search(rf"(^|[^a-z0-9]){re.escape(low)}$", name.lower())]
        matching = [name for name in ggufs if name.lower() == low] or (ends if len(ends) == 1 else matching)
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise NotFound(f"no GGUF file of {id_} has {wanted!r} in its name: {_listed(list(ggufs), ggufs, files)}")
    choice = f"choose a file, as in {id_}:{matching[0].rsplit('/')[-1]}: {_listed(matching, ggufs, files)}"
    raise InvalidSetting("model", f"{id_}:{wanted}" if wanted else id_, choice)


def _listed(names: list[str], ggufs: Mapping[str, list[str]], files: Sizes) -> str:
    shown = [f"{name} ({sum(files[part] for part in ggufs[name]) / 1e9:.2f} GB)" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
