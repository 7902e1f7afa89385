"""How much one document may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ownlm.errors import InvalidSetting

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one document may use. A document over a limit is ``DocumentTooLarge``.

    ``characters``: length of the extracted text (5 million is about 2,000 printed pages).
    ``seconds`` of waiting and ``cpu_seconds`` of computing; ``memory_bytes`` of address space of the worker
    process (where the system has RLIMIT_AS: Linux). ``unpacked_bytes``, ``members``: of a zip container
    (DOCX, PPTX, XLSX, EPUB); ``unpacked_ratio`` is of unpacked to packed size, once 16 MiB are unpacked.
    ``depth``: how deep elements of HTML or XML may nest.
    """

    file_bytes: int = 64 * MIB
    characters: int = 5_000_000
    seconds: float = 120.0
    cpu_seconds: int = 60
    memory_bytes: int = 2048 * MIB
    unpacked_bytes: int = 256 * MIB
    unpacked_ratio: int = 200
    members: int = 10_000
    depth: int = 1_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise InvalidSetting(f"Limits.{field.name}", value, "give a number above 0")


def size_in_words(count: float) -> str:
    """A size as people write it.

    >>> size_in_words(67108864), size_in_words(1500)
    ('64 MiB', '1.5 KiB')
    """
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
