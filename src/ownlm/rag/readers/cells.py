"""A spreadsheet's values as its reader sees them: number formats applied (ECMA-376 part 1, 18.8.30-31).

The common formats: decimals, thousands, percent, currency, literal text, dates and times, scientific. What a
format says beyond that (colours, conditions, fractions) is passed over and the value shown in general form.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

_SECTION = re.compile(r";(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")
_CURRENCY = re.compile(r"\[\$([^\]-]*)(?:-[^\]]*)?\]")
_BRACKETED = re.compile(r"\[[^\]]*\]")
_LITERAL = re.compile(r"\"([^\"]*)\"|\\(.)|_.|\*.")
_NUMBER = re.compile(r"[#0?][#0?,]*(?:\.([#0?]*))?")
_DATE = re.compile(r"y+|m+|d+|h+|s+(?:\.0+)?|am/pm|a/p", re.IGNORECASE)


def shown(value: Any, number_format: str | None) -> str:
    """A cell's text.

    >>> shown(1234.5, "#,##0.00"), shown(0.125, "0.0%"), shown(80, "[$£-809]#,##0.00"), shown(True, None)
    ('1,234.50', '12.5%', '£80.00', 'TRUE')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    form = number_format or "General"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return _date(value, form)
    if isinstance(value, dt.timedelta):
        seconds = int(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if isinstance(value, int | float):
        return general(value) if form == "General" and math.isfinite(value) else _number(value, form)
    return str(value)


def general(value: float) -> str:
    """Up to 11 significant digits, no trailing zeros, as the General format shows.

    >>> general(0.1 + 0.2), general(12.0), general(10**12)
    ('0.3', '12', '1000000000000')
    """
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return str(int(value))
    return f"{value:.11g}"


def _number(value: float, form: str) -> str:
    if not math.isfinite(value):
        return str(value)
    sections = _SECTION.split(form)
    section = sections[0]
    if value < 0 and len(sections) > 1:
        section, value = sections[1], -value
    elif value == 0 and len(sections) > 2:
        section = sections[2]
    section = _BRACKETED.sub("", _CURRENCY.sub(lambda match: f'"{match[1]}"', section))
    literals: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match[1] or match[2] or "")
        return "\x00"

    section = _LITERAL.sub(keep, section)
    match = _NUMBER.search(section)
    if "general" in section.lower() or match is None or "/" in section:
        text = general(value) if match is not None or "general" in section.lower() or section.strip("\x00") else ""
        before, after = ("", "") if match is None or "/" in section else (section[: match.start()], "")
        if match is None and not section.strip("\x00"):
            before = section
    else:
        text = _digits(value, section, match)
        before, after = section[: match.start()], section[match.end() :]
        after = re.sub(r"E[+-]?0+", "", after, flags=re.IGNORECASE)
    template = f"{before}{{}}{after}" if "{" not in section and "}" not in section else "{}"
    pieces = iter(literals)
    return re.sub("\x00", lambda _: next(pieces, ""), template.format(text)).strip()


def _digits(value: float, section: str, match: re.Match[str]) -> str:
    pattern, decimals = match[0], match[1] or ""
    if re.match(r"E[+-]?0+", section[match.end() :], re.IGNORECASE):
        return f"{value:.{len(decimals)}E}"
    if "%" in section:
        value *= 100
    whole = pattern.split(".")[0]
    if whole.endswith(","):  # each comma behind the digits divides by a thousand
        value /= 1000.0 ** (len(whole) - len(whole.rstrip(",")))
        whole = whole.rstrip(",")
    text = f"{value:{',' if ',' in whole else ''}.{len(decimals)}f}"
    optional = len(decimals) - len(decimals.rstrip("#?"))
    if optional and "." in text:
        kept = len(text) - optional
        text = (text[:kept] + text[kept:].rstrip("0")).removesuffix(".")
    width = whole.count("0")
    sign, bare = ("-", text[1:]) if text.startswith("-") else ("", text)
    head, point, tail = bare.partition(".")
    if "," not in whole:
        head = head.rjust(width, "0")
    return sign + head + point + tail


def _date(value: dt.datetime | dt.date | dt.time, form: str) -> str:
    """A date by its format; in general form ISO 8601, without a time of midnight."""
    section = _BRACKETED.sub("", _SECTION.split(form)[0])
    literals: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match[1] or match[2] or "")
        return "\x00"

    section = _LITERAL.sub(keep, section)
    if not _DATE.search(section) or "general" in section.lower():
        text = value.isoformat(sep=" ") if isinstance(value, dt.datetime) else value.isoformat()
        return text.removesuffix(" 00:00:00")
    moment = value
    if isinstance(value, dt.time):
        moment = dt.datetime.combine(dt.date(1900, 1, 1), value)
    elif not isinstance(value, dt.datetime):
        moment = dt.datetime.combine(value, dt.time())
    tokens = list(_DATE.finditer(section))
    half_day = any("/" in token[0] for token in tokens)
    parts: list[str] = []
    position = 0
    for index, token in enumerate(tokens):
        parts.append(section[position : token.start()])
        before = tokens[index - 1][0].lower() if index else ""
        after = tokens[index + 1][0].lower() if index + 1 < len(tokens) else ""
        minutes = before.startswith("h") or after.startswith("s")
        parts.append(_field(token[0].lower(), moment, minutes, half_day))  # type: ignore[arg-type]
        position = token.end()
    parts.append(section[position:])
    pieces = iter(literals)
    return re.sub("\x00", lambda _: next(pieces, ""), "".join(parts)).strip()


def _field(token: str, moment: dt.datetime, minutes: bool, half_day: bool) -> str:
    count = len(token)
    match token[0]:
        case "y":
            return f"{moment.year:04d}" if count > 2 else f"{moment.year % 100:02d}"
        case "m" if minutes and count <= 2:
            return f"{moment.minute:0{count}d}"
        case "m":
            names = f"{moment:%B}", f"{moment:%b}"
            return names[0] if count == 4 else names[1] if count == 3 else f"{moment.month:0{min(count, 2)}d}"
        case "d":
            return f"{moment:%A}" if count > 3 else f"{moment:%a}" if count == 3 else f"{moment.day:0{count}d}"
        case "h":
            hour = (moment.hour - 1) % 12 + 1 if half_day else moment.hour
            return f"{hour:0{min(count, 2)}d}"
        case "s":
            return f"{moment.second:0{min(len(token.split('.')[0]), 2)}d}"
        case _:
            return "AM" if moment.hour < 12 else "PM"
