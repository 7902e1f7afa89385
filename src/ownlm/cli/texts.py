"""A text that an option names."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path | None, option: str = "--text") -> str | None:
    """The file's text, None for none. InvalidSetting, naming the option, if it cannot be read as UTF-8."""
    from ownlm.errors import InvalidSetting

    if path is None:
        return None
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(option, str(path), f"it cannot be read as UTF-8 text ({error})") from None
