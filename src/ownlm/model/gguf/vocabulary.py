"""A model folder's tokenizer as the ``tokenizer.*`` keys of GGUF.

``tokenizer.model`` (SentencePiece) is taken as it is. A ``tokenizer.json`` is taken if it is byte-level BPE whose
way of cutting text has a name in GGUF, or BPE with byte fallback as made from SentencePiece, whose scores then follow
from the order of the merges. Anything else is refused: a file that tokenizes otherwise is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import CorruptModel, NotFound, UnsupportedModel
from ownlm.model.config import read_json
from ownlm.model.gguf.types import Value
from ownlm.tokenizer import pretokenizers, sentencepiece, special, template_files

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_NAMES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
Json = Mapping[str, Any]


def vocabulary(folder: Path, size: int, eos: Value | None = None) -> dict[str, Value]:
    """The keys for a model with ``size`` embeddings; ids that have no token are filled in as unused. ``eos``: what
    config.json says, for a tokenizer that names none.

    Raises UnsupportedModel for a tokenizer that GGUF cannot state, CorruptModel for one larger than the model.
    """
    settings = _optional(folder / "tokenizer_config.json")
    if (folder / "tokenizer.json").is_file():
        tokens, types, more = _from_json(folder / "tokenizer.json", read_json(folder / "tokenizer.json"))
    elif (folder / "tokenizer.model").is_file():
        path = folder / "tokenizer.model"
        found = sentencepiece.parse(path.read_bytes(), str(path))
        if found.algorithm != "bpe":
            raise UnsupportedModel(f"{path} is {found.algorithm}; GGUF files are written with BPE tokenizers")
        tokens, types = list(found.pieces), list(found.kinds)
        more = {
            "model": Value("str", "llama"),
            "scores": Value("f32", list(found.scores), array=True),
            "add_space_prefix": Value("bool", found.add_dummy_prefix),
            **_ids({"bos": found.bos_id, "eos": found.eos_id, "unknown": found.unk_id, "padding": found.pad_id}),
        }
    else:
        return {"tokenizer.ggml.model": Value("str", "no_vocab")}
    if len(tokens) > size:
        raise CorruptModel(f"{folder}: the tokenizer has {len(tokens)} tokens, the model {size}")
    for id_ in range(len(tokens), size):
        tokens.append(f"[PAD{id_}]")
        types.append(_UNUSED)
    scores = more.get("scores")
    if scores is not None:
        more["scores"] = Value("f32", scores.value + [-1e4] * (size - len(scores.value)), array=True)
    more |= _named(settings, tokens) | _policies(settings)
    more |= _ends(folder, more.get("eos_token_id", eos), tokens)
    keys = {"tokens": Value("str", tokens, array=True), "token_type": Value("i32", types, array=True), **more}
    return {f"tokenizer.ggml.{key}": value for key, value in sorted(keys.items())} | _templates(folder)


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _from_json(path: Path, raw: Json) -> tuple[list[str], list[int], dict[str, Value]]:
    model = raw.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise UnsupportedModel(f"{path} is no BPE tokenizer; GGUF files are written with BPE tokenizers")
    ids = {**model["vocab"], **{token["content"]: token["id"] for token in raw.get("added_tokens") or ()}}
    names = {id_: name for name, id_ in ids.items()}
    if not names or any(type(id_) is not int or id_ < 0 for id_ in names):
        raise CorruptModel(f"{path} has no valid vocabulary: get the file again")
    tokens = [names.get(id_, f"[PAD{id_}]") for id_ in range(max(names) + 1)]
    types = [_NORMAL if id_ in names else _UNUSED for id_ in range(len(tokens))]
    for token in raw.get("added_tokens") or ():
        types[token["id"]] = _CONTROL if token.get("special") else _USER
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges") or ()]
    bos = _adds_bos(raw)
    if model.get("byte_fallback"):
        return tokens, _sentencepiece_types(tokens, types, model), _sentencepiece_keys(raw, tokens, merges) | bos
    keys = {
        "model": Value("str", "gpt2"),
        "pre": Value("str", pre_tokenizer(path, raw)),
        "merges": Value("str", merges, array=True),
    }
    return tokens, types, keys | bos


def _sentencepiece_types(tokens: list[str], types: list[int], model: Json) -> list[int]:
    special = {model.get("unk_token"): _UNKNOWN}
    return [
        special.get(token, _BYTE if len(token) == 6 and token.startswith("<0x") and token.endswith(">") else kind)
        for token, kind in zip(tokens, types, strict=True)
    ]


def _sentencepiece_keys(raw: Json, tokens: list[str], merges: list[str]) -> dict[str, Value]:
    """Scores fall with the rank of the first merge that makes a token; what no merge makes comes last."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", "", 1), rank)
    scores = [float(-ranks.get(token, len(merges))) for token in tokens]
    steps = _steps(raw.get("normalizer"), "normalizers") + _steps(raw.get("pre_tokenizer"), "pretokenizers")
    prefix = any(
        step.get("type") == "Prepend" or (step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in steps
    )
    return {
        "model": Value("str", "llama"),
        "scores": Value("f32", scores, array=True),
        "add_space_prefix": Value("bool", prefix),
    }


def _steps(found: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(found, dict):
        return []
    return list(found.get(name) or []) if found.get("type") == "Sequence" else [found]


def pre_tokenizer(path: Path, raw: Json) -> str:
    """``tokenizer.ggml.pre`` of a byte-level tokenizer. UnsupportedModel if its way of cutting has no name there."""
    cuts = []
    for step in _steps(raw.get("pre_tokenizer"), "pretokenizers"):
        match step:
            case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated" | "Removed"}:
                cuts.append(pattern)
            case {"type": "Digits", "individual_digits": True}:
                cuts.append(r"\p{N}")
            case {"type": "ByteLevel", "add_prefix_space": False}:
                if step.get("use_regex", True):
                    cuts.append(pretokenizers.GPT2)
            case _:
                raise UnsupportedModel(f"{path}: pre-tokenizer {step.get('type')!r} has no name in GGUF")
    normalizers = {str(step.get("type")) for step in _steps(raw.get("normalizer"), "normalizers")}
    whole = bool(raw["model"].get("ignore_merges"))
    same = [name for name, family in pretokenizers.FAMILIES.items() if list(family.cuts) == cuts and name != "default"]
    exact = [
        name
        for name in same
        if pretokenizers.FAMILIES[name].nfc == ("NFC" in normalizers)
        and pretokenizers.FAMILIES[name].whole_words == whole
    ]
    if normalizers - {"NFC"} or not same:
        raise UnsupportedModel(f"{path}: its way of cutting text ({cuts}, {sorted(normalizers)}) has no name in GGUF")
    return (exact or same)[0]


def _adds_bos(raw: Json) -> dict[str, Value]:
    """Whether the post-processor puts a token before the text."""
    for step in _steps(raw.get("post_processor"), "processors"):
        if step.get("type") == "TemplateProcessing":
            first = (step.get("single") or [{}])[0]
            return {"add_bos_token": Value("bool", "SpecialToken" in first)}
    return {"add_bos_token": Value("bool", False)}


def _ids(ids: Mapping[str, int]) -> dict[str, Value]:
    return {f"{name}_token_id": Value("u32", id_) for name, id_ in ids.items() if id_ >= 0}


def _named(settings: Json, tokens: list[str]) -> dict[str, Value]:
    where = {token: id_ for id_, token in enumerate(tokens)}
    found = {}
    for name, ours in _NAMES.items():
        token = settings.get(f"{name}_token")
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and text in where:
            found[ours] = where[text]
    return _ids(found)


def _policies(settings: Json) -> dict[str, Value]:
    return {
        name: Value("bool", settings[name])
        for name in ("add_bos_token", "add_eos_token")
        if isinstance(settings.get(name), bool)
    }


def _templates(folder: Path) -> dict[str, Value]:
    """The default one under the key that every reader knows, others by name behind it."""
    try:
        found = template_files.of_folder(folder)
    except NotFound:
        return {}
    key = "tokenizer.chat_template"
    names = {name: key if name == "default" else f"{key}.{name}" for name in sorted(found)}
    named = [name for name in names if name != "default"]
    keys = {names[name]: Value("str", found[name]) for name in names}
    return keys | ({"tokenizer.chat_templates": Value("str", named, array=True)} if named else {})


def _ends(folder: Path, stated: Value | None, tokens: list[str]) -> dict[str, Value]:
    """What ends a text beside the one token that GGUF calls so: it has room for the end of a turn and of a message."""
    known = special.of_folder(folder).eos_ids - ({stated.value} if stated is not None else set())
    ends = sorted(id_ for id_ in known if id_ < len(tokens))
    names = ("eot", "eom") if stated is not None else ("eos", "eot", "eom")
    return _ids(dict(zip(names, ends, strict=False)))
