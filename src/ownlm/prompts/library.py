"""Which prompt a model is asked with, and the variants that it was chosen from.

1. what ``ownlm eval prompt`` kept for exactly these weights:   OWNLM_HOME/prompts/TEMPLATE.json
2. what the model names, because it was tuned on it:            prompts.json in its folder, NAME.prompts.json by a GGUF
                                                                file:  {"grounded": "grounded-short-1"}
3. the first of the built-in ones
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ownlm.errors import CorruptModel, NotFound
from ownlm.home import data_home
from ownlm.model.beside import beside
from ownlm.prompts import chat, complete, grounded, sentiment, summarize, translate
from ownlm.prompts.kept import read_kept, read_object
from ownlm.prompts.template import Prompt

BUILT_IN: dict[str, tuple[Prompt[Any], ...]] = {
    "chat": (chat.PROMPT,),
    "complete": (complete.PROMPT, *complete.OTHERS),
    "grounded": (grounded.PROMPT, grounded.SHORT),
    "sentiment": (sentiment.PROMPT, *sentiment.OTHERS),
    "summarize": (summarize.PROMPT, *summarize.OTHERS),
    "translate": (translate.PROMPT, *translate.OTHERS),
}


class Model(Protocol):
    """What of a model decides its prompt; an ``LLM`` is one. ``fingerprint`` identifies the weights."""

    @property
    def path(self) -> Path | None: ...
    @property
    def fingerprint(self) -> str: ...


def variants(template: str) -> tuple[Prompt[Any], ...]:
    """The built-in prompts of a template, the default first. Raises NotFound."""
    if template not in BUILT_IN:
        raise NotFound(f"there is no prompt template {template!r}: there are {', '.join(BUILT_IN)}")
    return BUILT_IN[template]


def load(template: str, model: Model | None = None, *, home: Path | None = None) -> Prompt[Any]:
    """The prompt for a model, as listed above; without one, the default.

    Raises NotFound for an unknown template, CorruptModel where the model's ``prompts.json`` is damaged or names a
    prompt that is not there, InvalidSetting where what was kept is damaged.
    """
    built_in = variants(template)
    if model is None:
        return built_in[0]
    kept = data_home(home) / "prompts" / f"{template}.json"
    if kept.is_file() and (found := read_kept(kept, built_in[0]).get(model.fingerprint)) is not None:
        return found.prompt
    version = _named(model.path).get(template)
    if version is None:
        return built_in[0]
    for prompt in built_in:
        if prompt.version == version:
            return prompt
    known = ", ".join(prompt.version for prompt in built_in)
    raise CorruptModel(
        f"{model.path}: prompts.json names {version!r} for {template}, and there are {known}: update ownlm"
    )


def _named(path: Path | None) -> dict[str, Any]:
    if path is None or not (file := beside(path, "prompts")).is_file():
        return {}
    try:
        found = read_object(file)
    except ValueError as error:
        raise CorruptModel(f"{file}: {error}; get the model's files again") from None
    for template in found:
        if template not in BUILT_IN:
            raise CorruptModel(f"{file}: there is no prompt template {template!r}: there are {', '.join(BUILT_IN)}")
    return found
