"""Another server that speaks OpenAI's API: vLLM, Ollama, llama.cpp, a hosted one.

What it writes cannot be held by our grammar; it is checked when it has come.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from ownlm.errors import BackendError, InvalidSetting
from ownlm.prompts.grounded import PROMPT
from ownlm.rag.generate.generator import Messages, NoRoom, OnText, Owners, Written

_SHOWN = 300
_TOO_LONG = re.compile(
    r"context.{0,40}(length|window|size)|maximum context|prompt (is )?too long|too many tokens", re.I
)
_THOUGHTS = re.compile(r"\s*<think>.*?(</think>|\Z)\s*", re.S)
_MOST = 4 << 20  # bytes of an answer
TIMEOUT = httpx.Timeout(600.0, connect=10.0)


class OpenAIGenerator:
    """POST ``{base_url}/chat/completions``, streamed. The key is read from an environment variable, never shown."""

    enforced = False
    prompt = PROMPT

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidSetting("--base-url", base_url, "give the server's address, such as http://127.0.0.1:8000/v1")
        key = os.environ.get(api_key_env)
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InvalidSetting("--api-key-env", api_key_env, "its value cannot be sent in a header")
        self.name = model
        self._url = base_url.rstrip("/")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT, transport=transport, follow_redirects=False)

    @property
    def fingerprint(self) -> str:
        return f"openai:{self._url}:{self.name}"

    def fits(self, messages: Messages, max_tokens: int) -> bool:
        return True  # the server refuses what does not fit: NoRoom

    def write(
        self, messages: Messages, passages: Sequence[str], max_tokens: int, on_text: OnText, owners: Owners = ()
    ) -> Written:
        body = {
            "model": self.name,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        pieces: list[str] = []
        reason: str | None = None
        usage: dict[str, Any] = {}
        for event in self._events(body):
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                text = (choice.get("delta") or {}).get("content") or ""
                if text:
                    pieces.append(text)
                    on_text(text)
                reason = choice.get("finish_reason") or reason
        details = usage.get("prompt_tokens_details") or {}
        drafts = usage.get("completion_tokens_details") or {}
        return Written(
            _THOUGHTS.sub("", "".join(pieces), count=1).strip(),
            reason == "stop",
            None,
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            int(details.get("cached_tokens") or 0),
            int(drafts.get("accepted_prediction_tokens") or 0),
            int(drafts.get("rejected_prediction_tokens") or 0),
        )

    def _events(self, body: dict[str, object]) -> Iterator[dict[str, Any]]:
        """The stream's data events. Raises BackendError with what the server said: NoRoom of a too long prompt."""
        taken = 0
        try:
            with self._client.stream("POST", f"{self._url}/chat/completions", json=body) as response:
                if response.status_code != 200:
                    said = _message(response)
                    wrong = (
                        NoRoom if response.status_code in (400, 413, 422) and _TOO_LONG.search(said) else BackendError
                    )
                    raise wrong(self._url, f"it answered {response.status_code}: {said}")
                for line in response.iter_lines():
                    taken += len(line)
                    if taken > _MOST:
                        raise BackendError(self._url, f"its answer has more than {_MOST:,} characters")
                    if not line.startswith("data:"):
                        continue
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        return
                    yield self._event(data)
        except httpx.HTTPError as error:
            raise BackendError(
                self._url, f"it cannot be reached or broke off ({error or type(error).__name__})"
            ) from None

    def _event(self, data: str) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise BackendError(self._url, f"it sent {data[:_SHOWN]!r}, which is no event of OpenAI's stream")
        if event.get("error"):
            raise BackendError(self._url, f"it reports {json.dumps(event['error'])[:_SHOWN]}")
        return event


def _message(response: httpx.Response) -> str:
    text = response.read()[:_MOST].decode("utf-8", "replace")
    try:
        found = json.loads(text)["error"]
        return str(found["message"] if isinstance(found, dict) else found)[:_SHOWN]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text[:_SHOWN]
