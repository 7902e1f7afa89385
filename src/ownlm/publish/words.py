"""Both models must read the same ids for the same words: vocabulary, special tokens, template, conversations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from ownlm.errors import TemplateError
from ownlm.publish.conversations import CONVERSATIONS, PROMPTS
from ownlm.publish.report import Check
from ownlm.publish.side import Side
from ownlm.tokenizer import ChatTemplate, Tokenizer

_SHOWN = 12  # ids around the first difference


def words(reference: Side, candidate: Side) -> Iterator[Check]:
    """Vocabulary, BOS, EOS, chat template, and the ids of conversations and prompts."""
    first, second = reference.tokenizer, candidate.tokenizer
    if first is None:
        yield Check(
            "tokenizer", second is None, "the reference has none" + ("" if second is None else ", this one has")
        )
        return
    if second is None:
        yield Check("tokenizer", False, "it is missing")
        return
    yield _vocabulary(first, second)
    yield _bos(first, second)
    yield _eos(reference, candidate, first, second)
    yield _template(reference.template, candidate.template)
    yield _prompts(first, second)
    if reference.template is not None and candidate.template is not None:
        yield _conversations(reference.template, candidate.template)


def digest(value: Any) -> str:
    """Hex SHA-256 of a text, or of a value's JSON with sorted keys."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _vocabulary(first: Tokenizer, second: Tokenizer) -> Check:
    """Ids beyond the reference's may be there (a GGUF file fills them up); they must not be special."""
    sides = [[tokenizer.token(id_) for id_ in range(first.vocab_size)] for tokenizer in (first, second)]
    wrong = [id_ for id_, (one, other) in enumerate(zip(*sides, strict=True)) if one != other and one is not None]
    hashes = [
        digest([special_of(tokenizer, first.vocab_size), tokens])
        for tokenizer, tokens in zip((first, second), sides, strict=True)
    ]
    if wrong:
        id_ = wrong[0]
        detail = f"{len(wrong)} tokens differ: {id_} is {sides[0][id_]!r} in the reference and {sides[1][id_]!r} here"
        return Check("vocabulary", False, detail, *hashes)
    special = sorted(first.special_ids ^ second.special_ids)
    if special:
        where = "the reference" if special[0] in first.special_ids else "the new model"
        return Check(
            "vocabulary", False, f"{first.token(special[0])!r} ({special[0]}) is special only in {where}", *hashes
        )
    return Check("vocabulary", True, f"{first.vocab_size:,} tokens", *hashes)


def special_of(tokenizer: Tokenizer, size: int) -> list[int]:
    """The ids below ``size`` that steer the model."""
    return sorted(id_ for id_ in tokenizer.special_ids if id_ < size)


def _bos(first: Tokenizer, second: Tokenizer) -> Check:
    found = [[tokenizer.bos_id, tokenizer.encode("")] for tokenizer in (first, second)]
    shown = [f"{bos}, around a text {around}" for bos, around in found]
    same = found[0] == found[1]
    return Check(
        "bos", same, shown[0] if same else f"{shown[0]} in the reference, {shown[1]} here", *map(digest, found)
    )


def _eos(reference: Side, candidate: Side, first: Tokenizer, second: Tokenizer) -> Check:
    """What ends a text: as serving takes it, and as the files state it, which is what others read."""
    found = [sorted(tokenizer.eos_ids) for tokenizer in (first, second)]
    hashes = [digest([tokenizer.eos_id, ids]) for tokenizer, ids in zip((first, second), found, strict=True)]
    names = [
        [f"{tokenizer.token(id_)!r} ({id_})" for id_ in ids]
        for tokenizer, ids in zip((first, second), found, strict=True)
    ]
    if found[0] != found[1]:
        return Check("eos", False, f"{_listed(names[0])} in the reference, {_listed(names[1])} here", *hashes)
    if first.eos_id is not None and first.eos_id != second.eos_id:
        return Check("eos", False, f"eos_token is {first.eos_id} in the reference, {second.eos_id} here", *hashes)
    if not reference.is_gguf and not candidate.is_gguf:
        stated = [tokenizer.special.eos_ids for tokenizer in (first, second)]
        if stated[0] != stated[1]:
            both = " in the reference, ".join(_listed([str(id_) for id_ in sorted(ids)]) for ids in stated)
            return Check("eos", False, f"the files state {both} here", *hashes)
    elif candidate.is_gguf and first.special.eos_ids and not second.special.eos_ids:
        return Check("eos", False, "the file states none", *hashes)
    return Check("eos", True, _listed(names[0]), *hashes)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _template(first: ChatTemplate | None, second: ChatTemplate | None) -> Check:
    sources = [{} if template is None else template.templates for template in (first, second)]
    hashes = [digest(source) if source else None for source in sources]
    if sources[0] == sources[1]:
        return Check("chat template", True, ", ".join(sorted(sources[0])) or "none", *hashes)
    names = sorted(name for name in {**sources[0], **sources[1]} if sources[0].get(name) != sources[1].get(name))
    name = names[0]
    state = "is missing" if name not in sources[1] else "is new" if name not in sources[0] else "is another one"
    return Check("chat template", False, f"{name!r} {state}", *hashes)


def _prompts(first: Tokenizer, second: Tokenizer) -> Check:
    kinds = [{"parse_special": True}, {"parse_special": False}]
    found = [[tokenizer.encode(text, **kind) for text in PROMPTS for kind in kinds] for tokenizer in (first, second)]
    hashes = [digest(ids) for ids in found]
    for rank, (one, other) in enumerate(zip(*found, strict=True)):
        if one != other:
            return Check("prompt ids", False, f"{PROMPTS[rank // 2]!r}: {_difference(one, other)}", *hashes)
    return Check("prompt ids", True, f"{len(PROMPTS)} texts, {sum(map(len, found[0]))} ids", *hashes)


def _conversations(first: ChatTemplate, second: ChatTemplate) -> Check:
    found: tuple[list[Any], list[Any]] = ([], [])
    fault = None
    for name, asked in CONVERSATIONS.items():
        one, other = (_rendered(template, asked) for template in (first, second))
        found[0].append(one)
        found[1].append(other)
        if one != other and fault is None:
            fault = f"{name!r}: {_difference(one, other)}"
    hashes = [digest(ids) for ids in found]
    if fault is not None:
        return Check("conversation ids", False, fault, *hashes)
    rendered = [ids for ids in found[0] if isinstance(ids, list)]
    refused = f", {len(found[0]) - len(rendered)} refused by both" if len(rendered) < len(found[0]) else ""
    detail = f"{len(rendered)} conversations, {sum(map(len, rendered))} ids{refused}"
    return Check("conversation ids", True, detail, *hashes)


def _rendered(template: ChatTemplate, asked: dict[str, Any]) -> list[int] | str:
    try:
        return template.render(**asked).ids
    except TemplateError as error:
        return f"refused: {error}"


def _difference(one: list[int] | str, other: list[int] | str) -> str:
    if isinstance(one, str) or isinstance(other, str):
        first, second = (ids if isinstance(ids, str) else f"{len(ids)} ids" for ids in (one, other))
        return f"{first} in the reference, {second} here"
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    near = slice(max(0, at - 2), at + _SHOWN)
    return f"from id {at} on {one[near]} in the reference, {other[near]} here"
