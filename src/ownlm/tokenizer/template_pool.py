"""Warm processes that render templates, each ended and replaced when it goes over a limit."""

from __future__ import annotations

import atexit
import threading
from dataclasses import dataclass, fields
from typing import Any

from ownlm.errors import InvalidSetting, TemplateError
from ownlm.worker.frames import frame
from ownlm.worker.idle import Idle
from ownlm.worker.process import Process, WorkerFailed, module_command

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may use. ``seconds`` of waiting, ``cpu_seconds`` of computing; ``memory_bytes`` of address
    space of the process (where the system has RLIMIT_AS: Linux); sizes of the request and of the text in bytes."""

    seconds: float = 10.0
    cpu_seconds: int = 4
    memory_bytes: int = 512 * MIB
    template_bytes: int = 1 * MIB
    request_bytes: int = 32 * MIB
    text_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InvalidSetting(f"Limits.{field.name}", getattr(self, field.name), "give a number above 0")


@dataclass(frozen=True, slots=True)
class Job:
    """One rendering: the template's variables, and what to put around its ``{% generation %}`` blocks."""

    variables: dict[str, Any]
    marks: tuple[str, str] = ("", "")


class TemplatePool:
    """At most ``workers`` processes. Its methods may be called from any thread."""

    def __init__(self, limits: Limits | None = None, workers: int = 2) -> None:
        self.limits = limits or Limits()
        self._idle = Idle(self._started)
        self._room = threading.BoundedSemaphore(workers)

    def render(self, template: str, jobs: list[Job]) -> list[str | TemplateError]:
        """The text of each job, or why it has none. Raises TemplateError when a limit is passed."""
        limits = self.limits
        if len(template) > limits.template_bytes:
            raise TemplateError(f"the chat template has more than {limits.template_bytes} characters")
        messages = [{"variables": job.variables, "marks": list(job.marks)} for job in jobs]
        try:
            request = frame({"template": template, "cpu_seconds": limits.cpu_seconds, "jobs": messages})
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidSetting("messages", "...", f"give plain JSON values ({error})") from None
        if len(request) > limits.request_bytes:
            raise TemplateError(f"the messages have {len(request)} bytes: at most {limits.request_bytes} are rendered")
        with self._room:
            worker = self._idle.take()
            try:
                answer = worker.exchange([request], limits.text_bytes, limits.seconds)
            except WorkerFailed as failure:
                raise self._why(failure) from None
            finally:
                self._idle.give_back(worker)
        return self._texts(answer, len(jobs))

    def _texts(self, answer: dict[str, Any], count: int) -> list[str | TemplateError]:
        found: list[str | TemplateError] = []
        results = answer.get("results")
        for result in results if isinstance(results, list) else []:
            text, error = (result.get("text"), result.get("error")) if isinstance(result, dict) else (None, None)
            found.append(text if isinstance(text, str) else TemplateError(f"the chat template failed: {error}"))
        if answer.get("last") is True and found:
            assert isinstance(found[0], TemplateError)
            raise found[0]
        if len(found) != count:
            raise TemplateError("the chat template's process answered with something that is no text")
        return found

    def _why(self, failure: WorkerFailed) -> TemplateError:
        if failure.overdue or failure.out_of_cpu:
            limit = self.limits.seconds if failure.overdue else self.limits.cpu_seconds
            return TemplateError(f"the chat template takes longer than {limit:g} s: it may loop for ever")
        if failure.broken:
            return TemplateError(f"the chat template made {failure.broken}: too much")
        return TemplateError(f"the chat template ended its process ({failure})")

    def _started(self) -> Process:
        return Process(module_command("ownlm.tokenizer.template_worker", self.limits.memory_bytes))

    def close(self) -> None:
        """End the idle processes; the pool can be used again."""
        self._idle.close()


_shared: TemplatePool | None = None
_shared_lock = threading.Lock()


def shared() -> TemplatePool:
    """The pool of this process, made at first use."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = TemplatePool()
            atexit.register(_shared.close)
        return _shared
