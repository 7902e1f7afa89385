"""Few-shot examples: which of many are shown before a question. The encoder that ships compares them.

    fixed(k)     the same for every question: one from the middle, then the farthest from those taken, answer by answer
    nearest(x)   for each question those most like it, the likest last (Liu et al. 2022, "What Makes Good In-Context
                 Examples for GPT-3?", arXiv:2101.06804)

Equal examples give equal choices: vectors do not depend on what else is encoded, and ties go to the first.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidSetting
from ownlm.prompts.template import Inputs, Prompt, Shot

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder


class Examples(Generic[Inputs]):
    """Examples to choose from. ``embedder``: by default the one that ships, loaded at the first choice."""

    def __init__(self, shots: Sequence[Shot[Inputs]], embedder: Embedder | None = None) -> None:
        """Raises InvalidSetting if there are none."""
        if not shots:
            raise InvalidSetting("examples", 0, "give at least one")
        self.shots = tuple(shots)
        self._given = embedder

    def nearest(self, inputs: Inputs, count: int) -> tuple[Shot[Inputs], ...]:
        """``count`` examples most like ``inputs``, the likest last; never an example of the same words."""
        said = key(inputs)
        likeness = self._vectors @ self._embedder.encode([said], truncate=True)[0]
        order = np.argsort(-likeness, kind="stable")
        found = [self.shots[at] for at in order if self._keys[at] != said][:count]
        self._enough(len(found), count)
        return tuple(reversed(found))

    def fixed(self, count: int) -> tuple[Shot[Inputs], ...]:
        """``count`` examples that differ from one another; where there are no more than ``count`` different answers,
        each in turn, so that no label goes unseen."""
        self._enough(len(self.shots), count)
        answers = list(dict.fromkeys(shot.answer for shot in self.shots))
        labels = sorted(answers) if len(answers) <= count else [None]
        likeness = self._vectors @ self._vectors.T
        taken: list[int] = []
        turn = 0
        while len(taken) < count:
            label = labels[turn % len(labels)]
            turn += 1
            left = [
                at for at, shot in enumerate(self.shots) if at not in taken and (label is None or shot.answer == label)
            ]
            if left:
                score = -likeness[left][:, taken].max(axis=1) if taken else likeness[left].mean(axis=1)
                taken.append(left[int(np.argmax(score))])
        return tuple(self.shots[at] for at in taken)

    def _enough(self, there: int, count: int) -> None:
        if not 1 <= count <= there:
            raise InvalidSetting("shots", count, f"give from 1 to {there}, as many examples as there are")

    @functools.cached_property
    def _embedder(self) -> Embedder:
        from ownlm.engine.embedder import Embedder

        return self._given or Embedder.load()

    @functools.cached_property
    def _keys(self) -> list[str]:
        return [key(shot.inputs) for shot in self.shots]

    @functools.cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return self._embedder.encode(self._keys, truncate=True)


@dataclass(frozen=True, slots=True)
class NearestPrompt(Prompt[Inputs]):
    """A prompt that shows, before each question, the ``count`` examples most like it."""

    examples: Examples[Inputs] | None = None
    count: int = 0

    def messages(self, inputs: Inputs, shots: Sequence[Shot[Inputs]] = ()) -> list[dict[str, str]]:
        """The conversation that ends with the question."""
        near = self.examples.nearest(inputs, self.count) if self.examples is not None else ()
        return Prompt.messages(self, inputs, (*near, *shots))


def with_fixed(prompt: Prompt[Inputs], shots: Sequence[Shot[Inputs]]) -> Prompt[Inputs]:
    """The prompt with these shots; its version says how many."""
    version = f"{prompt.version}+{len(shots)}-fixed"
    return dataclasses.replace(prompt, version=version, shots=(*prompt.shots, *shots))


def with_nearest(prompt: Prompt[Inputs], examples: Examples[Inputs], count: int) -> NearestPrompt[Inputs]:
    """The prompt with the nearest of ``examples``; its version says how many."""
    return NearestPrompt(
        prompt.template, f"{prompt.version}+{count}-nearest", prompt.inputs, prompt.user, prompt.system, prompt.shots,
        examples, count,
    )  # fmt: skip


def key(inputs: Any) -> str:
    """The words by which inputs are compared: their texts (of a grounded question, the question). The encoder reads the
    beginning of a long one.

    >>> from ownlm.prompts.grounded import Grounded, Source
    >>> key(Grounded("When?", (Source("", "At nine."),)))
    'When?'
    """
    texts = (getattr(inputs, field.name) for field in dataclasses.fields(inputs))
    return "\n".join(text for text in texts if isinstance(text, str))
