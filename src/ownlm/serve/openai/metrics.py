"""GET /metrics in Prometheus' text format, version 0.0.4.

Written by hand: the numbers lie in the engine already, and the format is three kinds of line. ``prometheus_client``
would keep a second copy of them in a registry of the whole process.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

import ownlm
from ownlm.engine.llm import LLM
from ownlm.engine.stats import EngineStats
from ownlm.serve.openai.timings import Timings

_COUNTERS = {
    "submitted": "Requests that were taken",
    "refused": "Requests that found the line full",
    "finished": "Requests that ended by themselves",
    "cancelled": "Requests whose client left, or that met a stop string",
    "failed": "Requests that ended with an error",
    "preemptions": "Requests that gave their blocks back for a while",
    "evictions": "Cached blocks that were given up",
    "steps": "Forward passes",
    "prompt_tokens": "Tokens of prompts",
    "cached_tokens": "Tokens of prompts found in the cache",
    "restored_tokens": "Tokens of prompts read from disk",
    "restore_seconds": "Seconds in which they were read",
    "stored_tokens": "Tokens of prompts written to disk",
    "computed_tokens": "Tokens that were computed",
    "generated_tokens": "Tokens that were generated",
    "drafted_tokens": "Tokens that were computed because they might come next",
    "accepted_tokens": "Drafted tokens that came",
    "step_seconds": "Seconds in the model's forward passes",
    "busy_seconds": "Seconds in which the engine worked",
    "audit_failures": "Self-audits of the block accounting that failed",
}
_GAUGES = {
    "running": "Requests in the batch",
    "waiting": "Requests in line",
    "blocks_total": "Blocks of the KV cache",
    "blocks_free": "Blocks that hold nothing",
    "blocks_cached": "Blocks kept for prompts that may come again",
    "blocks_used": "Blocks of running requests",
}


def router(llm: LLM, timings: Timings) -> APIRouter:
    """The route, bound to a model."""
    routes = APIRouter()

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Counters and gauges of the engine, and how long answers took."""
        return PlainTextResponse(text(llm, timings), media_type="text/plain; version=0.0.4")

    return routes


def text(llm: LLM, timings: Timings) -> str:
    """All metrics, one line each, with their help."""
    return "\n".join([*_about(llm), *_lines(llm.stats()), *timings.lines(), ""])


def _about(llm: LLM) -> Iterator[str]:
    name = llm.name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    yield "# HELP ownlm_info The version and the model"
    yield "# TYPE ownlm_info gauge"
    yield f'ownlm_info{{version="{ownlm.__version__}",model="{name}"}} 1'


def _lines(stats: EngineStats) -> Iterator[str]:
    for kind, names, source in (("counter", _COUNTERS, stats.counters), ("gauge", _GAUGES, stats)):
        for name, help_ in names.items():
            full = f"ownlm_{name}_total" if kind == "counter" else f"ownlm_{name}"
            yield f"# HELP {full} {help_}"
            yield f"# TYPE {full} {kind}"
            yield f"{full} {getattr(source, name)}"
