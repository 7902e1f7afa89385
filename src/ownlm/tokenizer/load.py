"""From files to a running tokenizer: which file is read, what is added to it, and what is checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ownlm.errors import CorruptModel, ModelError, NotFound
from ownlm.tokenizer import gguf, pieces, pipeline, sentencepiece, special
from ownlm.tokenizer.special import Special

T = TypeVar("T")
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
MAX_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A definition for ``tokenizers``, the bytes it was read from, and where that was."""

    definition: bytes
    special: Special
    source: bytes
    name: str


def find(path: Path) -> Found:
    """The tokenizer at a path: a model folder, or a file in one. Raises NotFound, CorruptModel, UnsupportedModel."""
    if path.is_dir():
        names = ("tokenizer.json", *SENTENCEPIECE)
        file = next((path / name for name in names if (path / name).is_file()), None)
        if file is None:
            raise NotFound(f"{path / names[0]} is not there: give a model folder with a tokenizer.json or .model")
    else:
        file = path
    try:
        if file.stat().st_size > MAX_BYTES:
            raise CorruptModel(f"{file} has more than {MAX_BYTES >> 20} MiB: get the file again")
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        file = file if file.suffix else file / "tokenizer.json"
        raise NotFound(f"{file} is not there: give a model folder with a tokenizer.json or .model") from None
    except OSError as error:
        raise CorruptModel(f"{file} cannot be read ({error.strerror})") from None
    named = special.of_folder(file.parent)
    if file.suffix == ".json":  # its own post-processor decides on BOS and EOS, as in transformers 5
        return Found(data, replace(named, add_bos=None, add_eos=None), data, str(file))
    return _of_sentencepiece(data, named, file)


def of_gguf(metadata: Mapping[str, Any]) -> Found:
    """The tokenizer in a GGUF's metadata."""
    definition, named = gguf.read(metadata)
    return Found(definition, named, definition, gguf.SOURCE)


def guarded(make: Callable[[Found], T], found: Found) -> T:
    """``make(found)``, with whatever the library raises told as CorruptModel."""
    try:
        made = make(found)
    except ModelError:
        raise
    except Exception as error:  # the library raises no narrower type
        raise CorruptModel(f"{found.name} is not a valid tokenizer ({error}): get the file again") from None
    if getattr(made, "vocab_size", 1) == 0:
        raise CorruptModel(f"{found.name} has an empty vocabulary: get the file again")
    return made


def _of_sentencepiece(data: bytes, named: Special, file: Path) -> Found:
    vocabulary = sentencepiece.parse(data, str(file))
    own = {
        f"{name}_token": vocabulary.pieces[id_]
        for name in ("bos", "eos", "unk", "pad")
        if 0 <= (id_ := getattr(vocabulary, f"{name}_id")) < len(vocabulary.pieces)
        and vocabulary.kinds[id_] in (sentencepiece.Kind.CONTROL, sentencepiece.Kind.UNKNOWN)
    }
    settings = special.read_json(file.parent / "tokenizer_config.json")
    # Silent files: models with a BOS want it (Llama), those without end a text (T5).
    add_bos = "bos_token" in own if named.add_bos is None else named.add_bos
    add_eos = "bos_token" not in own and "eos_token" in own if named.add_eos is None else named.add_eos
    prefix = "first" if settings.get("legacy") is False else "always"
    definition = _with_added(json.loads(pipeline.definition(vocabulary, prefix=prefix)), named)
    whole = Special({**own, **named.names}, add_bos, add_eos, named.eos_ids, named.added)
    return Found(json.dumps(definition, ensure_ascii=False).encode(), whole, data, str(file))


def _with_added(definition: dict[str, Any], named: Special) -> dict[str, Any]:
    """The definition with the tokens that ``tokenizer_config.json`` adds to a SentencePiece model, or describes."""
    tokens = {token["id"]: token for token in definition["added_tokens"]}
    for id_, token in sorted(named.added.items()):
        flags = {name: bool(token.get(name, False)) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        tokens[id_] = {"id": id_, "content": token["content"], **flags, "special": bool(token.get("special", False))}
    definition["added_tokens"] = [tokens[id_] for id_ in sorted(tokens)]
    return definition


@dataclass(frozen=True, slots=True)
class Built:
    """The library's tokenizer and what is known of its vocabulary."""

    tokenizer: Any
    sha256: str
    vocab_size: int
    added_ids: frozenset[int]
    special_ids: frozenset[int]

    @classmethod
    def of(cls, definition: bytes, named: Special, source: bytes | None) -> Built:
        import tokenizers

        tokenizer: Any = tokenizers.Tokenizer.from_buffer(definition)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        for id_, token in named.added.items():
            known = tokenizer.token_to_id(token["content"])
            if known is not None and known != id_:
                raise CorruptModel(f"token {token['content']!r} has ids {known} and {id_}: get the model's files again")
        _surround(tokenizer, named)
        added = tokenizer.get_added_tokens_decoder()
        return cls(
            tokenizer,
            hashlib.sha256(definition if source is None else source).hexdigest(),
            max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1,
            frozenset(added),
            frozenset(id_ for id_, token in added.items() if token.special),
        )


def _surround(tokenizer: Any, named: Special) -> None:
    """Put BOS and EOS around texts where the model's settings say so, whatever the tokenizer's file does."""
    if named.add_bos is None and named.add_eos is None:
        return
    from tokenizers import processors

    single, special_tokens = ["$A:0"], []
    for wanted, name in ((named.add_bos, "bos_token"), (named.add_eos, "eos_token")):
        text = named.names.get(name)
        id_ = None if text is None else tokenizer.token_to_id(text)
        if wanted and id_ is not None:
            special_tokens.append((text, id_))
            single = [f"{text}:0", *single] if name == "bos_token" else [*single, f"{text}:0"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=[*single, *(part.replace(":0", ":1").replace("$A", "$B") for part in single)],
        special_tokens=special_tokens,
    )  # fmt: skip


def decoding_rule(tokenizer: Any) -> pieces.Rule:
    """The rule of the tokenizer's decoder. Raises UnsupportedModel."""
    decoder = tokenizer.decoder
    return pieces.rule(None if decoder is None else json.loads(decoder.__getstate__()))
