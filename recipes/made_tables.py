"""Made-up tables with questions about them: what a price list, a register or a rota looks like, and how one asks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ownlm.rag.types import Extracted

Maker = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Table:
    """``questions`` are (text, span of the row that answers, or None when no row does)."""

    extracted: Extracted
    questions: tuple[tuple[str, tuple[int, int] | None], ...]


_FIRST = ("Anna", "Ben", "Clara", "David", "Erik", "Fatima", "Grace", "Hugo", "Iris", "Jamal", "Karin", "Luis", "Maya")
_LAST = ("Abbott", "Baker", "Chen", "Diaz", "Evans", "Fisher", "Garcia", "Hughes", "Khan", "Lopez", "Moore", "Okafor")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November")


def _person(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"


def _price(rng: random.Random) -> str:
    return f"£{rng.choice((str(rng.randrange(2, 400)), f'{rng.uniform(3, 90):.2f}'))}"


def _date(rng: random.Random) -> str:
    return f"{rng.randrange(1, 29)} {rng.choice(_MONTHS)} {rng.randrange(2018, 2027)}"


def _time(rng: random.Random) -> str:
    return f"{rng.randrange(6, 22)}:{rng.choice(('00', '15', '30'))}"


def _telephone(rng: random.Random) -> str:
    return f"0{rng.randrange(1000, 9999)} {rng.randrange(100000, 999999)}"


def _count(rng: random.Random) -> str:
    return str(rng.randrange(3, 120))


def _interval(rng: random.Random) -> str:
    return rng.choice(("daily", "weekly", "monthly", "every two weeks", "twice a year", "yearly"))


Column = tuple[str, Maker, str]
"""Header, what makes a value, and ways to ask for it, parted by ``;`` with ``*`` for the key."""
_KINDS: tuple[tuple[str, str, str, tuple[Column, ...]], ...] = (
    (
        "Price list",
        "Item",
        "desk lamp;garden chair;steel kettle;canvas tent;wool blanket;bread knife;rain jacket;hand drill;office chair;"
        "coffee grinder;bicycle pump;tool box;wall clock;leather belt;step ladder;tea pot",
        (
            ("Price", _price, "How much is the *?;What does a * cost?;price of the *;What would I pay for a *?"),
            ("In stock", _count, "How many of the * are left?;stock of *"),
            ("Supplier", _person, "Who supplies the *?;Where do we buy the * from?"),
        ),
    ),
    (
        "Rooms",
        "Room",
        "Oak Room;Main Hall;Studio A;Garden Room;Library;Seminar 3;Blue Room;Attic;Kitchen;Gallery;Music Room",
        (
            ("Seats", _count, "How many people fit into the *?;capacity of *;How large a group can use the *?"),
            ("Rate per hour", _price, "What does it cost to rent the *?;hire charge *;How much is the * for an hour?"),
            ("Key holder", _person, "Who has the key to the *?;Who can let me into the *?"),
        ),
    ),
    (
        "Courses",
        "Course",
        "pottery;first aid;photography;sewing;bread baking;bookkeeping;watercolour;gardening;web design;upholstery",
        (
            ("Tutor", _person, "Who teaches *?;Who runs the class in *?"),
            ("First day", _date, "When does * start?;start date *;On what day does the course in * begin?"),
            ("Fee", _price, "How much is the course in *?;What do I pay to learn *?"),
            ("Places", _count, "How many can take part in *?;How big is the group in *?"),
        ),
    ),
    (
        "Contacts",
        "Role",
        "caretaker;treasurer;head librarian;safety officer;receptionist;events manager;gardener;night guard;IT support",
        (
            ("Name", _person, "Who is the *?;What is the * called?;name of the *"),
            ("Telephone", _telephone, "What number do I ring for the *?;How can I reach the *?;phone *"),
            ("Here from", _time, "When is the * there?;At what time can I see the *?"),
        ),
    ),
    (
        "Maintenance",
        "Task",
        "clean the filters;test the alarms;oil the hinges;check the extinguishers;water the plants;empty the bins;"
        "inspect the roof;service the lift;replace the batteries;wash the windows",
        (
            ("How often", _interval, "How often do we have to *?;How frequently should somebody *?"),
            ("Responsible", _person, "Who has to *?;Whose job is it to *?"),
            ("Last done", _date, "When did someone last *?"),
        ),
    ),
)


def made_tables(count: int, seed: int = 5) -> list[Table]:
    """So many tables, each with three questions; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311  (no secret is made)
    return [_table(rng) for _ in range(count)]


def _table(rng: random.Random) -> Table:
    title, head, listed, columns = rng.choice(_KINDS)
    keys = rng.sample(listed.split(";"), rng.randrange(6, 9))
    absent = keys.pop()
    shown = rng.sample(columns, rng.randrange(2, len(columns) + 1))
    text = f"{title}\n\n"
    rows: dict[str, tuple[int, int]] = {}
    for key in keys:
        row = " | ".join([f"{head}: {key}", *(f"{name}: {make(rng)}" for name, make, _ in shown)])
        rows[key] = (len(text), len(text) + len(row))
        text += row + "\n"
    questions: list[tuple[str, tuple[int, int] | None]] = []
    for key in (*rng.sample(keys, 2), absent):
        _, _, ways = rng.choice(shown)
        question = rng.choice(ways.split(";")).replace("*", key)
        questions.append((question, rows.get(key)))
    return Table(
        Extracted(text, rng.choice((title, f"{title} {rng.randrange(2018, 2027)}")), "text/csv"), tuple(questions)
    )
