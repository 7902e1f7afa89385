"""A conversation to ids and a loss mask: the one renderer that training and serving share.

The template runs in a worker process (``template_pool.py``). Text in messages cannot spell a token that steers the
model: such text stays text (``marks.py``). ``loss_mask`` marks what the assistant says, end of turn included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting, NotFound, TemplateError
from ownlm.tokenizer import spoken, template_files
from ownlm.tokenizer.marks import Marked, Marks, Scanner, Span, map_strings, spans_of_parts
from ownlm.tokenizer.message import Message
from ownlm.tokenizer.special import ENDS_OF_TURN
from ownlm.tokenizer.template_pool import Job, TemplatePool, shared

if TYPE_CHECKING:
    from ownlm.tokenizer.tokenizer import Tokenizer

Json = dict[str, Any]
ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_PARTS = re.compile(r"""for\s+\w+\s+in\s+\w+(\.content|\[\s*['"]content['"]\s*\])""")
_ROLE = re.compile("[a-z][a-z_]*")  # templates write a role as it is: it must not bring a control token along
_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """``text`` and its ``ids``; ``loss_mask`` has 1 for each id that the assistant says, or is None if not asked for.

    ``notes``: what the caller should know, such as that a message spelled a control token.
    """

    text: str
    ids: list[int]
    loss_mask: list[int] | None = None
    notes: tuple[str, ...] = ()


class ChatTemplate:
    """A model's chat templates by name, with its tokenizer. May be used from several threads."""

    def __init__(
        self, templates: str | Mapping[str, str], tokenizer: Tokenizer, *, pool: TemplatePool | None = None
    ) -> None:
        self.templates = {"default": templates} if isinstance(templates, str) else dict(templates)
        if not self.templates:
            raise NotFound("the model has no chat template: give one with chat_template.jinja in its folder")
        self.tokenizer = tokenizer
        self._pool = pool
        self._scanners: dict[frozenset[int], Scanner] = {}
        source = "\n".join(self.templates.values())
        named = {id_ for id_ in tokenizer.added_ids - tokenizer.special_ids if _names(tokenizer.token(id_), source)}
        self.control_ids = tokenizer.special_ids | named

    @classmethod
    def load(cls, folder: Path | str, tokenizer: Tokenizer | None = None) -> ChatTemplate:
        """The templates of a model folder. Raises NotFound, CorruptModel or UnsupportedModel."""
        from ownlm.tokenizer.tokenizer import Tokenizer

        templates = template_files.of_folder(Path(folder))
        return cls(templates, tokenizer or Tokenizer.load(folder))

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], tokenizer: Tokenizer | None = None) -> ChatTemplate:
        """The templates in a GGUF's metadata (``tokenizer.chat_template`` and its named ones)."""
        from ownlm.tokenizer.tokenizer import Tokenizer

        return cls(template_files.of_gguf(metadata), tokenizer or Tokenizer.from_gguf(metadata))

    def source(self, name: str | None = None, *, tools: bool = False) -> str:
        """The template of that name; without one "tool_use" for tools if there is one, else "default"."""
        if name is None:
            name = "tool_use" if tools and "tool_use" in self.templates else "default"
        try:
            return self.templates[name]
        except KeyError:
            known = ", ".join(sorted(self.templates))
            raise InvalidSetting("template", name, f"the model has: {known}") from None

    def render(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        *,
        template: str | None = None,
        loss_mask: bool = False,
        **extra: Any,
    ) -> Rendered:
        """The conversation as the model reads it. ``extra`` are variables of the template (``enable_thinking``, ...).

        Raises InvalidSetting for messages that are none, TemplateError when the template refuses or fails.
        """
        source = self.source(template, tools=bool(tools))
        read = [Message.of(message, f"messages[{rank}]") for rank, message in enumerate(messages)]
        plain = [self._for_template(message, source, rank) for rank, message in enumerate(read)]
        work = _Work(self, source, plain, list(tools) if tools else None, extra, add_generation_prompt)
        marked, spans = work.run(loss_mask)
        ids, offsets = self._encode(marked)
        mask = spoken.mask(offsets, spans) if loss_mask else None
        return Rendered(marked.text, ids, mask, tuple(work.notes))

    def _for_template(self, message: Message, source: str, rank: int) -> Json:
        found = message.for_template(parts=_PARTS.search(source) is not None)
        role = message.role
        if role == "developer" and "developer" not in source:
            found["role"] = role = "system"  # the newer name of the same thing
        known_here = _ROLE.fullmatch(role) and (f"'{role}'" in source or f'"{role}"' in source)
        if role not in ROLES and not known_here:
            known = ", ".join(sorted(ROLES))
            raise InvalidSetting(f"messages[{rank}].role", role, f"the template knows no such role; common are {known}")
        return found

    def scanner(self, ids: frozenset[int]) -> Scanner:
        if ids not in self._scanners:
            self._scanners[ids] = Scanner(self.tokenizer.backend, ids)
        return self._scanners[ids]

    def pool(self) -> TemplatePool:
        return self._pool or shared()

    def _encode(self, marked: Marked) -> tuple[list[int], list[Span]]:
        """The ids and spans of a rendered text. Between the template's own control tokens, what spells one is text."""
        ids, offsets = self.tokenizer.encode_with_offsets(marked.text)
        if not marked.spelled:
            return ids, offsets
        own = [
            (id_, span) for id_, span in zip(ids, offsets, strict=True)
            if id_ in self.control_ids and not any(span[0] < end and span[1] > start for start, end in marked.spelled)
        ]  # fmt: skip
        literal = self.tokenizer.literal(self.control_ids)
        ids, offsets, position = [], [], 0
        for id_, span in [*own, (None, (len(marked.text),) * 2)]:
            between = marked.text[position : span[0]]
            if between:
                more, spans = literal.encode_with_offsets(between, continued=position > 0)
                ids += more
                offsets += [(start + position, end + position) for start, end in spans]
            if id_ is not None:
                ids.append(id_)
                offsets.append(span)
            position = span[1]
        return ids, offsets


class _Work:
    """One call of ``render``: which texts are asked of the template, and what comes of them."""

    def __init__(
        self, chat: ChatTemplate, source: str, messages: list[Json], tools: list[Any] | None, extra: Json, prompt: bool
    ) -> None:
        self.chat, self.source, self.prompt = chat, source, prompt
        self.notes: list[str] = []
        self.marks = Marks(messages, tools, extra, source)
        self.plain = (map_strings(messages, str), map_strings(tools, str), map_strings(extra, str))
        self.spelled = 0
        self.marked = (
            [self._mark_message(message) for message in self.plain[0]],
            map_strings(self.plain[1], self._mark), map_strings(self.plain[2], self._mark),
        )  # fmt: skip

    def run(self, loss_mask: bool) -> tuple[Marked, list[Span]]:
        jobs = [self._job(None, self.prompt, marked=True)]
        jobs += [self._job(None, self.prompt, marked=False)] if self.spelled else []
        turns = [rank for rank, message in enumerate(self.plain[0]) if message["role"] == "assistant"]
        tagged = _GENERATION.search(self.source) is not None
        first = len(jobs)
        if loss_mask and tagged:
            jobs.append(self._job(None, self.prompt, marked=True, tagged=True))
        elif loss_mask:
            for rank in turns:
                jobs += [self._job(rank, False), self._job(rank, True), self._job(rank + 1, False)]
        texts = self.chat.pool().render(self.source, jobs)
        found = self._take(texts[0])
        if self.spelled:
            self._say(found, texts[1])
        if not loss_mask:
            return found, []
        if tagged:
            again = self._take(texts[first])
            if again.text != found.text:
                raise TemplateError("the chat template changes the text of its generation blocks: no loss mask is sure")
            return found, again.spoken
        prefixes = [text if isinstance(text, TemplateError) else self._take(text).text for text in texts[first:]]
        try:
            return found, spoken.turns(found, prefixes, self._ends())
        except TemplateError as error:
            return found, self._by_content(found, turns, error)

    def _by_content(self, found: Marked, turns: list[int], why: TemplateError) -> list[Span]:
        """Where a template writes earlier turns in another way each time: marks around what the assistant says."""
        messages = list(self.marked[0])
        for rank in turns:
            content = messages[rank]["content"]
            if not isinstance(content, str) or not content.strip() or messages[rank].get("tool_calls"):
                raise why
            core = content.strip()
            marked = core.join(self.marks.spoken)
            messages[rank] = messages[rank] | {"content": content.replace(core, marked, 1)}
        job = self._job(None, self.prompt)
        again = self._take(self.chat.pool().render(self.source, [Job(job.variables | {"messages": messages})])[0])
        if again.text != found.text or len(again.spoken) != len(turns):
            raise why
        return spoken.widened(again, self._ends())

    def _say(self, found: Marked, true: str | TemplateError) -> None:
        self.notes.append(f"messages spell {self.spelled} control tokens of the model: they are read as plain text")
        if true != found.text:
            self.notes.append("the chat template reads that text, so that the conversation is written another way")

    def _take(self, text: str | TemplateError) -> Marked:
        if isinstance(text, TemplateError):
            raise text
        return self.marks.take(text)

    def _ends(self) -> list[str]:
        """The tokens that end a turn: those that end a text, and those that only end one message of several."""
        tokenizer = self.chat.tokenizer
        known = {text for text in ENDS_OF_TURN if tokenizer.id_of(text) in tokenizer.special_ids}
        return sorted(known | {token for id_ in tokenizer.eos_ids if (token := tokenizer.token(id_))})

    def _job(self, count: int | None, prompt: bool, *, marked: bool = True, tagged: bool = False) -> Job:
        messages, tools, extra = self.marked if marked else self.plain
        named = dict(self.chat.tokenizer.special.names)
        basic = {"messages": messages[:count], "tools": tools, "documents": None, "add_generation_prompt": prompt}
        return Job({**named, **basic, **extra}, self.marks.spoken if tagged else ("", ""))

    def _mark_message(self, message: Json) -> Json:
        """What the assistant said may hold the template's own words (``<think>``), but no special token."""
        ids = self.chat.tokenizer.special_ids if message["role"] == "assistant" else self.chat.control_ids
        found = {key: map_strings(value, lambda text: self._mark(text, ids)) for key, value in message.items()}
        found["role"] = message["role"]
        if isinstance(message.get("content"), list):
            texts = [part["text"] for part in message["content"]]
            spans = spans_of_parts(self.chat.scanner(ids), texts)
            self.spelled += sum(map(len, spans))
            found["content"] = [
                part | {"text": self.marks.put(text, inside)}
                for part, text, inside in zip(message["content"], texts, spans, strict=True)
            ]
        return found

    def _mark(self, text: str, ids: frozenset[int] | None = None) -> str:
        spans = self.chat.scanner(self.chat.control_ids if ids is None else ids).find(text)
        self.spelled += len(spans)
        return self.marks.put(text, spans) if spans else text


def _names(token: str | None, source: str) -> bool:
    """Whether the template writes the token (white space is not a word of its own)."""
    return token is not None and bool(token.strip()) and token in source
