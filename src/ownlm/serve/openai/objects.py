"""The JSON objects of OpenAI's answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ownlm.engine.generation import Generation
from ownlm.engine.request import TokenOut
from ownlm.tokenizer import Tokenizer

Json = dict[str, Any]


def usage(generations: Sequence[Generation]) -> Json:
    """Tokens of the prompt (once, however many answers it has) and of the answers."""
    return total_usage(generations[:1], generations)


def total_usage(firsts: Sequence[Generation], generations: Sequence[Generation]) -> Json:
    """OpenAI's ``usage``; ``firsts`` has one answer of each prompt."""
    prompt = sum(generation.prompt_tokens for generation in firsts)
    completion = sum(generation.completion_tokens for generation in generations)
    cached = sum(generation.cached_tokens for generation in firsts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, **_reuse(firsts)},
        "completion_tokens_details": {
            "accepted_prediction_tokens": sum(generation.accepted_tokens for generation in generations),
            "rejected_prediction_tokens": sum(generation.rejected_tokens for generation in generations),
        },
    }


def _reuse(firsts: Sequence[Generation]) -> Json:
    """Ours beside OpenAI's ``cached_tokens``: where they were, and where the first prompt that is not known whole parts
    from the nearest entry of the cache. Of that entry nothing is told: it may be another caller's."""
    from_disk = sum(generation.reuse.from_disk for generation in firsts)
    parted = [(at, found) for at, one in enumerate(firsts) if (found := one.first_difference) is not None]
    difference: Json | None = None
    if parted:
        prompt, (index, text, before) = parted[0]
        difference = {"index": index, "token": text, "after": before} | ({"prompt": prompt} if len(firsts) > 1 else {})
    return {
        "from_memory": sum(generation.cached_tokens for generation in firsts) - from_disk,
        "from_disk": from_disk,
        "first_difference": difference,
    }


def token_text(tokenizer: Tokenizer, id_: int) -> str:
    """A token as text; bytes that are no whole character as OpenAI spells them.

    ``bytes:\\xe2\\x82`` is the first two bytes of a character of three.
    """
    data = tokenizer.token_bytes(id_)
    if not data:
        return tokenizer.token(id_) or ""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def chat_logprobs(tokenizer: Tokenizer, tokens: Iterable[TokenOut]) -> Json:
    """``choices[].logprobs`` of chat."""
    return {
        "content": [
            {
                **_entry(tokenizer, out.token, out.logprob),
                "top_logprobs": [_entry(tokenizer, id_, logprob) for id_, logprob in out.top],
            }
            for out in tokens
        ],
        "refusal": None,
    }


def _entry(tokenizer: Tokenizer, id_: int, logprob: float | None) -> Json:
    return {
        "token": token_text(tokenizer, id_),
        "logprob": finite(logprob),
        "bytes": list(tokenizer.token_bytes(id_)),
    }


def finite(logprob: float | None) -> float | None:
    """JSON has no infinity: OpenAI writes -9999.0. A token that a grammar forced has none of its own."""
    return None if logprob is None else max(float(logprob), -9999.0)


class PlainLogprobs:
    """``choices[].logprobs`` of plain completions, token by token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._offset = 0

    def of(self, tokens: Iterable[tuple[int, float | None, Sequence[tuple[int, float]] | None]]) -> Json:
        """(token, log probability, likeliest ones or None where nothing predicts it) each."""
        found: Json = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for id_, logprob, top in tokens:
            text = token_text(self._tokenizer, id_)
            found["tokens"].append(text)
            found["token_logprobs"].append(finite(logprob))
            found["text_offset"].append(self._offset)
            found["top_logprobs"].append(None if top is None else self._top(text, logprob, top))
            self._offset += len(text)
        return found

    def _top(self, text: str, logprob: float | None, top: Sequence[tuple[int, float]]) -> Json:
        found = {token_text(self._tokenizer, id_): finite(value) for id_, value in reversed(top)}
        if logprob is not None:
            found.setdefault(text, finite(logprob))  # the token itself is always among them
        return found
