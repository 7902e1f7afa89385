"""Personal data by its form: e-mail addresses, telephone, card and account numbers, people's full names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

Kind = Literal["email", "phone", "card", "iban", "name"]
KINDS: tuple[Kind, ...] = ("email", "phone", "card", "iban", "name")

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])")
# Made to be nobody's (RFC 2606).
_NOBODY = re.compile(r"@(?:[\w-]+\.)*(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)$", re.I)
_PHONE = re.compile(
    r"(?<![\w.,+-])(?<!\d[ -])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}-\d{3}-\d{4}|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,4})(?![\w-]|[.,]\d| \d)"
)
_CARD = re.compile(r"(?<![\w.,-])(?<!\d )(?:\d[ -]?){12,18}\d(?![\w-]|[.,]\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_TITLE = r"(?:Mr|Mrs|Ms|Miss|Dr|Prof|Professor|Sir|Lady)\.? "
_FIRST = (
    "Aaron|Adam|Ahmed|Alan|Alexander|Alice|Amanda|Amy|Andrew|Angela|Anna|Anne|Anthony|Barbara|Benjamin|Brian|Carlos|"
    "Carol|Caroline|Catherine|Charles|Charlotte|Christine|Christopher|Claire|Daniel|David|Deborah|Diana|Donald|Edward|"
    "Elena|Elizabeth|Emily|Emma|Eric|Fatima|Frances|Frank|Gary|George|Hannah|Harold|Helen|Henry|Ibrahim|Jack|Jacob|"
    "James|Jane|Janet|Jason|Jean|Jeffrey|Jennifer|Jessica|Joan|John|Jonathan|Jose|Joseph|Joshua|Juan|Judith|Julia|"
    "Karen|Katherine|Kenneth|Kevin|Laura|Lauren|Linda|Lisa|Louis|Lucy|Luis|Margaret|Maria|Marie|Mark|Martha|Martin|"
    "Mary|Matthew|Melissa|Michael|Michelle|Mohammed|Nancy|Nicholas|Nicole|Olga|Oliver|Olivia|Pamela|Patricia|Patrick|"
    "Paul|Peter|Philip|Rachel|Rebecca|Richard|Robert|Roger|Ronald|Ruth|Ryan|Samuel|Sandra|Sarah|Scott|Sharon|Simon|"
    "Sophie|Stephen|Steven|Susan|Teresa|Thomas|Timothy|Victoria|Walter|William"
)
_NAME = re.compile(
    rf"\b(?:{_TITLE}(?:[A-Z][a-z]+ )?(?:[A-Z]\. )?[A-Z][a-z]{{2,}}|(?:{_FIRST}) (?:[A-Z]\. )?[A-Z][a-z]{{2,}})\b"
)


def personal(text: str) -> list[tuple[Kind, str]]:
    """(kind, the very words) of each, in order of kinds; what one kind has taken is not another's.

    Cards pass Luhn's check, accounts ISO 13616's; addresses of domains kept for examples are left out.

    >>> personal("Ask Mary Hill, +44 20 7946 0018, m.hill@mail.org, or a@example.com; 4111 1111 1111 1111.")
    ... # doctest: +NORMALIZE_WHITESPACE
    [('email', 'm.hill@mail.org'), ('phone', '+44 20 7946 0018'), ('card', '4111 1111 1111 1111'),
     ('name', 'Mary Hill')]
    """
    found: list[tuple[Kind, str]] = []
    taken: list[tuple[int, int]] = []
    for kind, pattern, holds in _RULES:
        for match in pattern.finditer(text):
            start, end = match.span()
            if all(end <= a or b <= start for a, b in taken) and holds(match.group()):
                found.append((kind, match.group()))
                taken.append((start, end))
    return sorted(found, key=lambda each: KINDS.index(each[0]))


def _luhn(number: str) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1), of 13 to 19 digits that are not all the same."""
    digits = [int(sign) for sign in number if sign.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def _iban(number: str) -> bool:
    """The check digits of ISO 13616."""
    plain = number.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def _phone(number: str) -> bool:
    return 7 <= sum(sign.isdigit() for sign in number) <= 15


_RULES: tuple[tuple[Kind, re.Pattern[str], Callable[[str], object]], ...] = (
    ("email", _EMAIL, lambda text: not _NOBODY.search(text)),
    ("iban", _IBAN, _iban),
    ("card", _CARD, _luhn),
    ("phone", _PHONE, _phone),
    ("name", _NAME, lambda text: True),
)
