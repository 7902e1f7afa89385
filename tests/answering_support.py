"""A store with hand-made documents, read by the encoder that ships."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ownlm.engine.embedder import Embedder
from ownlm.engine.reader import Reader
from ownlm.rag.store import Store
from ownlm.rag.texts import put_texts
from ownlm.rag.types import Extracted, Mark

RULES = """House rules

The front door is locked at 22:00. Guests must leave before that time.

Keys

A lost key costs £40, because the lock has to be changed. Report it to the porter at once.

Bicycles

Bicycles stand in the yard. They may not be brought into the corridor. The yard is open all night.
"""
PRICES = """Price list 2025

Item: Glazed bowl | Price: £18.00 | Maker: Tom Ash | In stock: 12
Item: Salt pig | Price: £24.50 | Maker: Rose Field | In stock: 3
Item: Tea pot | Price: £41.00 | Maker: Tom Ash | In stock: 0
"""
OLD = "Membership 2022\n\nThe annual membership fee is £60. It is due on 1 March.\n"
NEW = "Membership 2025\n\nThe annual membership fee is £75. It is due on 1 April.\n"
MINUTES = """Minutes of 4 May 2024

Present: Ada Brook, Carl Dent and Eve Frost.

The roof was inspected by Harker Ltd on 12 April 2024. They found eleven broken slates.

Carl Dent was elected chair. He will serve until May 2026.
"""


def headings(text: str, *labels: str) -> tuple[Mark, ...]:
    return tuple(Mark("heading", (at := text.index(label)), at + len(label), 1, label) for label in labels)


DOCUMENTS = {
    "/papers/rules.md": Extracted(RULES, "House rules", "text/markdown", headings(RULES, "Keys", "Bicycles")),
    "/papers/prices.csv": Extracted(PRICES, "Price list 2025", "text/csv"),
    "/papers/membership-2022.txt": Extracted(OLD, "Membership 2022", "text/plain"),
    "/papers/membership-2025.txt": Extracted(NEW, "Membership 2025", "text/plain"),
    "/papers/minutes.txt": Extracted(MINUTES, "Minutes of 4 May 2024", "text/plain"),
}


@cache
def encoder() -> Embedder:
    return Embedder.load()


@cache
def reader() -> Reader:
    return Reader.load()


def filled(folder: Path, documents: dict[str, Extracted] | None = None) -> Store:
    store = Store.open(folder)
    put_texts(store, encoder(), list((DOCUMENTS if documents is None else documents).items()))
    return store
