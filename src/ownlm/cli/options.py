"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.errors import InvalidSetting

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="OWNLM_HOME", help="Folder of the index.", show_default="the platform's data folder"),
]
KvStore = Annotated[
    bool,
    typer.Option(
        "--kv-store/--no-kv-store",
        help="Keep what is computed of prompts in OWNLM_HOME: who asks about the same text again, even after a "
        "restart, waits for the question alone.",
    ),
]
KvStoreLimit = Annotated[
    float | None,
    typer.Option(
        "--kv-store-limit", metavar="GB", help="Gigabytes that it may take.",
        show_default="4, or a tenth of the disk's free space",
    ),
]  # fmt: skip
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda", help="What computes; auto: an NVIDIA GPU that has room for the model."
    ),
]
KvFormat = Annotated[
    str,
    typer.Option(
        "--kv-format", metavar="bf16|int8|int4|f32",
        help="What keys and values are kept as: int8 and int4 take a half and a quarter of bf16's memory.",
    ),
]  # fmt: skip
Speculate = Annotated[
    str,
    typer.Option(
        "--speculate", metavar="lookup|off",
        help="Compute tokens ahead that the text so far suggests: the same answers, quotations come faster.",
    ),
]  # fmt: skip
Draft = Annotated[
    str | None,
    typer.Option("--draft", help="A small model of the same vocabulary that guesses ahead.", metavar="MODEL"),
]
ExactHead = Annotated[
    bool,
    typer.Option(
        "--exact-head",
        help="Read a large head whole, not by a 4-bit copy whose leading logits are computed again.",
    ),
]


def head_of(exact: bool) -> str:
    """The setting ``head`` of ``LLM``, of ``--exact-head``."""
    return "exact" if exact else "rescored"


def store_bytes(gigabytes: float | None) -> int | None:
    """``--kv-store-limit`` in bytes. Raises InvalidSetting."""
    if gigabytes is None:
        return None
    if not 0 < gigabytes < 1e6:
        raise InvalidSetting("--kv-store-limit", gigabytes, "give gigabytes, such as 4 or 0.5")
    return max(1, int(gigabytes * 1e9))


def ops_of(device: str) -> str:
    """The ``ops`` of an ``LLM`` that ``--device`` asks for. Raises InvalidSetting."""
    known = {"auto": "auto", "cpu": "native", "cuda": "cuda"}
    if device not in known:
        raise InvalidSetting("--device", device, f"give {', '.join(known)}")
    return known[device]
