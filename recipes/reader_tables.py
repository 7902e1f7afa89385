"""Made-up tables with questions about one cell, for a reader that meets rows of ``Header: value | Header: value``."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reader_examples import Example

Value = Callable[[random.Random], str]

FIRST = (
    "Anna Ben Clara David Erik Fatima Grace Hugo Iris Jamal Karin Luis Maya Noor Oscar Priya Rosa Sam Tara Umar Vera"
)
LAST = (
    "Abbott Baker Chen Diaz Evans Fisher Garcia Hughes Ivanov Jensen Khan Lopez Moore Nielsen Okafor Patel Quinn Ueda"
)
ITEMS = (
    "desk lamp;garden chair;steel kettle;canvas tent;wool blanket;bread knife;water bottle;rain jacket;picture frame;"
    "hand drill;paint roller;office chair;coffee grinder;bicycle pump;camping stove;tool box;floor rug;wall clock"
)
ROOMS = "Oak Room;Main Hall;Studio A;Garden Room;Library;Seminar 3;Blue Room;Attic;Lecture Theatre;Kitchen;Gallery"
COURSES = "pottery;first aid;photography;sewing;bread baking;bookkeeping;watercolour;gardening;web design;upholstery"
ROLES = "caretaker;treasurer;head librarian;safety officer;receptionist;events manager;gardener;night guard;chair"
TASKS = (
    "clean the filters;test the alarms;oil the hinges;check the extinguishers;back up the server;water the plants;"
    "empty the bins;inspect the roof;service the lift;replace the batteries;wash the windows"
)
DAYS = "Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday"
MONTHS = "January February March April May June July August September October November December"


def name(r: random.Random) -> str:
    """A person."""
    return f"{r.choice(FIRST.split())} {r.choice(LAST.split())}"


def money(r: random.Random) -> str:
    """A sum with its sign."""
    return r.choice("£$€") + (str(r.randrange(2, 400)) if r.random() < 0.5 else f"{r.random() * 90 + 3:.2f}")


def date(r: random.Random) -> str:
    """A day."""
    return f"{r.randrange(1, 29)} {r.choice(MONTHS.split())} {r.randrange(2018, 2027)}"


def hour(r: random.Random) -> str:
    """A time of day."""
    return f"{r.randrange(6, 22)}:{r.choice(('00', '15', '30'))}"


def phone(r: random.Random) -> str:
    """A telephone number."""
    return f"0{r.randrange(1000, 9999)} {r.randrange(100000, 999999)}"


def number(low: int, high: int) -> Value:
    """A whole number."""
    return lambda r: str(r.randrange(low, high))


def one_of(words: str) -> Value:
    """One of the words between semicolons."""
    return lambda r: r.choice(words.split(";"))


@dataclass(frozen=True)
class Column:
    """A column: what its cells hold, and how people ask for one (``{k}`` is the row's name)."""

    header: str
    value: Value
    questions: tuple[str, ...]


TABLES: tuple[tuple[str, str, str, tuple[Column, ...]], ...] = (
    (
        "Price list",
        "Item",
        ITEMS,
        (
            Column("Price", money, ("How much is the {k}?", "What does a {k} cost?", "price of the {k}",
                                    "What would I pay for a {k}?", "How much do you charge for the {k}?")),
            Column("In stock", number(0, 90), ("How many of the {k} are left?", "stock of {k}")),
            Column("Supplier", name, ("Who supplies the {k}?", "Where do we buy the {k} from?")),
            Column("Weight kg", number(1, 40), ("How heavy is the {k}?", "What does the {k} weigh?")),
        ),
    ),
    (
        "Rooms",
        "Room",
        ROOMS,
        (
            Column("Seats", number(4, 200), ("How many people fit into the {k}?", "capacity of {k}",
                                             "What is the largest group that can use the {k}?")),
            Column("Rate per hour", money, ("What does it cost to rent the {k}?", "hire charge {k}",
                                            "How much is the {k} for an hour?")),
            Column("Floor", one_of("ground;first;second;basement"), ("Where is the {k}?",
                                                                     "On which level do I find the {k}?")),
            Column("Key holder", name, ("Who has the key to the {k}?", "Who can let me into the {k}?")),
        ),
    ),
    (
        "Courses",
        "Course",
        COURSES,
        (
            Column("Tutor", name, ("Who teaches {k}?", "Who runs the class in {k}?", "instructor for {k}")),
            Column("First day", date, ("When does {k} start?", "start date {k}", "On what day does {k} begin?")),
            Column("Fee", money, ("How much is the course in {k}?", "What do I pay to learn {k}?")),
            Column("Places", number(4, 30), ("How many can take part in {k}?", "How big is the group in {k}?")),
        ),
    ),
    (
        "Contacts",
        "Role",
        ROLES,
        (
            Column("Name", name, ("Who is the {k}?", "What is the {k} called?", "name of the {k}")),
            Column("Telephone", phone, ("What number do I ring for the {k}?", "How can I reach the {k}?")),
            Column("Hours", lambda r: f"{hour(r)} to {hour(r)}", ("When is the {k} there?",
                                                                  "At what times can I see the {k}?")),
        ),
    ),
    (
        "Maintenance",
        "Task",
        TASKS,
        (
            Column("How often", one_of("daily;weekly;monthly;every two weeks;twice a year;yearly"),
                   ("How often do we have to {k}?", "How frequently should somebody {k}?")),
            Column("Responsible", name, ("Who has to {k}?", "Whose job is it to {k}?")),
            Column("Last done", date, ("When did someone last {k}?",)),
        ),
    ),
    (
        "Opening hours",
        "Day",
        DAYS,
        (
            Column("Opens", hour, ("When do you open on {k}?", "From when can I come on a {k}?")),
            Column("Closes", hour, ("Until when are you there on {k}?", "When do you shut on {k}?")),
            Column("On duty", name, ("Who is at the desk on {k}?",)),
        ),
    ),
)  # fmt: skip

ABSENT = 0.2
"""Share of questions whose row is not in the table."""
LONGEST = 750


def table_examples(rng: random.Random, count: int) -> Iterator[Example]:
    """``count`` questions, each with a table; in some the row or the column asked for is not there."""
    made = 0
    while made < count:
        title, key, names, columns = rng.choice(TABLES)
        rows = rng.sample(names.split(";"), rng.randrange(5, 8))
        shown = rng.sample(columns, rng.randrange(2, len(columns) + 1))
        asked, column = rng.choice(rows), rng.choice(columns)
        question = rng.choice(column.questions).format(k=asked)
        if rng.random() < ABSENT:
            rows = [row for row in rows if row != asked]
        text, spans, gold = "", [], []
        for row in rows:
            line = " | ".join([f"{key}: {row}", *(f"{c.header}: {c.value(rng)}" for c in shown)])
            spans.append((len(text), len(text) + len(line)))
            gold.append(row == asked and column in shown)
            text += line + "\n"
        if len(text) > LONGEST:
            continue
        heading = rng.choice((title, f"{title} {rng.randrange(2018, 2027)}", ""))
        made += 1
        yield Example(question.lower() if rng.random() < 0.3 else question, heading, text, tuple(spans), tuple(gold))
