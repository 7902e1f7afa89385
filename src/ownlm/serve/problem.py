"""What the server says when it cannot do what was asked: always ``{"error": {message, type, param, code}}``.

This is OpenAI's shape, with all four keys on every route, so one reader of errors suffices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse

from ownlm.errors import (
    BackendError,
    DocumentTooLarge,
    EngineBusy,
    EngineClosed,
    InvalidGrammar,
    InvalidSetting,
    NotFound,
    OwnLMError,
    PromptTooLong,
    StoreBusy,
    StoreFull,
    TemplateError,
    UnreadableDocument,
    UsageError,
)

RETRY_SECONDS = 2
SHOWN = 600  # characters of a message; a value that it names may have millions
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_BY_STATUS = {
    400: "invalid_json",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


class Problem(HTTPException):
    """A refusal with an HTTP status and OpenAI's four words for it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if len(message) > SHOWN:
            message = f"{message[: SHOWN * 2 // 3]} ... {message[-SHOWN // 3 :]}"
        super().__init__(status, message, dict(headers) if headers else None)
        self.message = message
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        kind = "server_error" if self.status_code >= 500 else _KINDS.get(self.status_code, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The whole response."""
        return JSONResponse(self.body(), self.status_code, self.headers)


def from_error(error: OwnLMError, param: str | None = None) -> Problem:
    """An error of OwnLM's own as an HTTP refusal. The first row that matches counts."""
    message = str(error)
    retry = {"retry-after": str(RETRY_SECONDS)}
    match error:
        case NotFound():
            return Problem(404, message, code="not_found", param=param)
        case InvalidSetting():
            return Problem(400, message, code="invalid_value", param=param or error.setting)
        case PromptTooLong():
            return Problem(400, message, code="context_length_exceeded", param=param or "messages")
        case InvalidGrammar():
            return Problem(400, message, code="invalid_grammar", param=param)
        case TemplateError():
            return Problem(400, message, code="template_failed", param=param or "messages")
        case EngineBusy():
            return Problem(429, message, code="rate_limit_exceeded", headers=retry)
        case EngineClosed():
            return Problem(503, message, code="shutting_down", headers=retry)
        case BackendError():
            return Problem(502, message, code="backend_failed")
        case UsageError():
            return Problem(400, message, code="invalid_request", param=param)
        case DocumentTooLarge():
            return Problem(422, message, code="document_too_large", param=param)
        case UnreadableDocument():
            return Problem(422, message, code="unreadable_document", param=param)
        case StoreBusy():
            return Problem(503, message, code="index_busy", headers=retry)
        case StoreFull():
            return Problem(507, message, code="disk_full")
        case _:
            return Problem(500, message, code="failed")


def from_status(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """A refusal that the framework itself raised (no such route, wrong method)."""
    return Problem(status, detail, code=_BY_STATUS.get(status, "failed"), headers=headers)


_BY_KIND = {
    "extra_forbidden": ("unknown_parameter", "Unknown parameter: {name}"),
    "missing": ("missing_required_parameter", "Missing required parameter: {name}"),
    "json_invalid": ("invalid_json", "The body is not JSON: {detail}"),
    "model_attributes_type": ("invalid_type", "The body must be a JSON object"),
}


def from_validation(errors: list[Any]) -> Problem:
    """The first thing that a request's fields got wrong, as 400 (OpenAI has no 422)."""
    first = errors[0]
    path = [str(part) for part in first["loc"] if part not in {"body", "query", "path", "str", "int"}]
    path = [part for part in path if "[" not in part]  # pydantic names the branch of a union so: "list[str]"
    name = ".".join(path)
    kind = first["type"]
    if kind in _BY_KIND:
        code, sentence = _BY_KIND[kind]
        if kind == "missing" and not name:
            code, sentence = "missing_body", "The body must be a JSON object"
        detail = str(first.get("ctx", {}).get("error", ""))
        return Problem(
            400,
            sentence.format(name=name, detail=detail),
            code=code,
            param=None if kind == "json_invalid" else name or None,
        )
    message = str(first["msg"]).removeprefix("Value error, ")
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return Problem(400, f"{name}: {message}" if name else message, code=code, param=name or None)
