"""The exceptions OwnLM raises on purpose. Everything a user can cause is one of these.

    OwnLMError                      something a person can act on; exit code 1
    ├── UsageError                  what was asked for cannot be done as asked; exit code 2
    │   ├── InvalidSetting          a setting has a value outside what it admits
    │   ├── MissingExtra            an optional dependency is not installed
    │   ├── InvalidGrammar          what an answer must match is not understood, or nothing can match it
    │   ├── TemplateError           a chat template refuses these messages, fails, or takes too long
    │   ├── PromptTooLong           prompt and answer do not fit the context together; never a cut
    │   ├── InvalidData             what a model should learn from is empty, damaged or of another shape
    │   ├── OtherRecipe             a checkpoint belongs to a run with other settings
    │   ├── DiskFull                the disk or the quota has no room for what was to be written
    │   └── NotFound                the model, document or ledger entry named is not there
    ├── ModelError                  a model folder cannot be used
    │   ├── CorruptModel            bytes are missing, altered or inconsistent
    │   ├── UnsupportedModel        a valid model of a kind that OwnLM does not run
    │   └── ParityBroken            a step made another model than the one that it was given: not published
    ├── Diverged                    a training run got worse than it began, and was stopped
    ├── EngineError                 a request to the engine ends without its answer; the engine goes on
    │   ├── EngineBusy              as many requests wait as may wait: try again later
    │   ├── EngineClosed            the engine was closed
    │   └── StepFailed              the model's step failed under the request
    ├── BackendError                another server that was asked to write did not
    ├── DocumentError               one document cannot be read; the others go on
    │   ├── UnreadableDocument      damaged, encrypted, or of an unknown kind
    │   └── DocumentTooLarge        over a limit of size, time, memory or output
    └── StoreError                  the index on disk cannot be read or written
        ├── StoreBusy               another process holds it longer than we wait
        └── StoreFull               the disk or the quota has no room; what was there is kept

A message names the thing, its value and the remedy, in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class OwnLMError(Exception):
    """Base of all errors that OwnLM raises on purpose."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, from one process to another: the arguments of most are not those of ``Exception``."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[OwnLMError], arguments: tuple[Any, ...], named: dict[str, Any]) -> OwnLMError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(named)
    return error


class UsageError(OwnLMError):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class InvalidSetting(UsageError):
    """A setting has a value outside what it admits.

    >>> str(InvalidSetting("--port", "99999", "give a port from 1 to 65535"))
    "--port is '99999': give a port from 1 to 65535"
    """

    def __init__(self, setting: str, value: object, remedy: str) -> None:
        super().__init__(f"{setting} is {value!r}: {remedy}")
        self.setting = setting
        self.value = value
        self.remedy = remedy


class MissingExtra(UsageError):
    """An optional dependency is not installed.

    >>> str(MissingExtra("train", "torch"))
    "torch is not installed: pip install 'ownlm[train]'"
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'ownlm[{extra}]'")
        self.extra = extra
        self.package = package


class InvalidGrammar(UsageError):
    """What an answer must match is not understood, or nothing can match it.

    >>> str(InvalidGrammar("regex", "(", "unclosed group"))
    "regex '(': unclosed group"
    """

    def __init__(self, kind: str, value: object, problem: str) -> None:
        try:
            shown = repr(value)
        except RecursionError:
            shown = "(nested deeply)"
        super().__init__(f"{kind} {shown if len(shown) <= 80 else shown[:77] + '...'}: {problem}")
        self.kind = kind
        self.problem = problem


class TemplateError(UsageError):
    """A chat template refuses these messages, fails on them, or takes too long or too much memory."""


class PromptTooLong(UsageError):
    """A prompt, or a prompt and the answer asked for, are longer than the context. Nothing is cut.

    >>> str(PromptTooLong(5000, None, 4096))
    'the prompt is 5000 tokens long and the context holds 4096, the answer included: shorten the prompt or load the model with a larger context'
    >>> str(PromptTooLong(4000, 200, 4096))
    'the prompt is 4000 tokens long and max_tokens is 200, together 4200, and the context holds 4096: shorten the prompt or ask for at most 96 tokens'
    """  # noqa: E501

    def __init__(self, prompt: int, max_tokens: int | None, context: int) -> None:
        said = f"the prompt is {prompt} tokens long"
        if max_tokens is None or prompt >= context:
            message = (
                f"{said} and the context holds {context}, the answer included: "
                "shorten the prompt or load the model with a larger context"
            )
        else:
            message = (
                f"{said} and max_tokens is {max_tokens}, together {prompt + max_tokens}, and the context holds "
                f"{context}: shorten the prompt or ask for at most {context - prompt} tokens"
            )
        super().__init__(message)
        self.prompt = prompt
        self.max_tokens = max_tokens
        self.context = context


class InvalidData(UsageError):
    """What a model should learn from is empty, damaged or of another shape; the file and the line are named.

    >>> str(InvalidData("chat.jsonl", 'has no "text"', "name the field with --text-field", line=7))
    'chat.jsonl, line 7 has no "text": name the field with --text-field'
    """

    def __init__(self, file: object, problem: str, remedy: str, *, line: int | None = None) -> None:
        where = f"{file}" if line is None else f"{file}, line {line}"
        super().__init__(f"{where} {problem}: {remedy}")
        self.line = line


class OtherRecipe(UsageError):
    """A checkpoint belongs to a run with other settings.

    >>> str(OtherRecipe("runs/x", {"seed": (1, 2)}))
    'runs/x holds a run with other settings (seed was 1, is 2): give another --out, or the settings that it began with'
    """

    def __init__(self, out: object, changed: Mapping[str, tuple[object, object]]) -> None:
        said = ", ".join(f"{name} was {before!r}, is {now!r}" for name, (before, now) in sorted(changed.items())[:3])
        super().__init__(
            f"{out} holds a run with other settings ({said}): give another --out, or the settings that it began with"
        )


class DiskFull(UsageError):
    """The disk or the quota has no room for what was to be written.

    >>> str(DiskFull("/data/shards"))
    '/data/shards: no room is left on the disk: free some, or give a folder on another disk'
    """

    def __init__(self, path: object) -> None:
        super().__init__(f"{path}: no room is left on the disk: free some, or give a folder on another disk")


class NotFound(UsageError):
    """The model, document or ledger entry named is not there."""


class ModelError(OwnLMError):
    """A model folder cannot be used."""


class CorruptModel(ModelError):
    """Bytes of a model are missing, altered or inconsistent."""


class UnsupportedModel(ModelError):
    """A valid model of a kind that OwnLM does not run."""


class ParityBroken(ModelError):
    """A step made another model than the one that it was given, and what it made is not published.

    >>> str(ParityBroken("export", "m.gguf", ["the chat template: it is another one", "eos: 2 is missing"]))
    'export of m.gguf broke parity, so it is not published: the chat template: it is another one; eos: 2 is missing'
    """

    def __init__(self, step: str, name: str, faults: list[str]) -> None:
        more = [f"and {len(faults) - 3} more"] if len(faults) > 3 else []
        super().__init__(f"{step} of {name} broke parity, so it is not published: {'; '.join([*faults[:3], *more])}")
        self.step = step
        self.faults = faults


class Diverged(OwnLMError):
    """A training run got worse than it began, and was stopped.

    >>> str(Diverged(120, float("nan"), "runs/x/checkpoints/step-00000100.pt"))
    'the loss is nan at step 120: lower the learning rates; the last good checkpoint is runs/x/checkpoints/step-00000100.pt'
    """  # noqa: E501

    def __init__(self, step: int, loss: float, kept: object | None) -> None:
        good = "no checkpoint was written yet" if kept is None else f"the last good checkpoint is {kept}"
        super().__init__(f"the loss is {loss:.4g} at step {step}: lower the learning rates; {good}")


class EngineError(OwnLMError):
    """A request to the engine ends without its answer; the engine goes on."""


class EngineBusy(EngineError):
    """As many requests wait as may wait.

    >>> str(EngineBusy(64))
    '64 requests are waiting and there is no room for more: try again in a moment'
    """

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} requests are waiting and there is no room for more: try again in a moment")
        self.waiting = waiting


class EngineClosed(EngineError):
    """The engine was closed."""


class StepFailed(EngineError):
    """The model's step failed under the request; others that were not in that step go on."""


class BackendError(OwnLMError):
    """Another server that was asked to write did not.

    >>> str(BackendError("http://127.0.0.1:8000/v1", "it answered 404: no such model"))
    'the server http://127.0.0.1:8000/v1 gave no answer: it answered 404: no such model'
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"the server {url} gave no answer: {reason}")


class DocumentError(OwnLMError):
    """One document cannot be read; the others go on."""


class UnreadableDocument(DocumentError):
    """Damaged, encrypted, or of an unknown kind."""


class DocumentTooLarge(DocumentError):
    """Over a limit of size, time, memory or output."""


class StoreError(OwnLMError):
    """The index on disk cannot be read or written."""


class StoreBusy(StoreError):
    """Another process holds the index longer than we wait."""


class StoreFull(StoreError):
    """The disk or the quota has no room; what was there is kept."""
