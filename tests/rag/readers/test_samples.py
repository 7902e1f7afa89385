"""Documents that our code did not make: manuals and office files from Debian packages.

The folder named by OWNLM_SAMPLES holds the unpacked packages; without it, places where they are installed are
looked at. Packages: debian-policy developers-reference maint-guide r-cran-officer r-cran-openxlsx r-cran-readxl.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from ownlm.errors import UnreadableDocument
from ownlm.rag.readers import ReaderPool
from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.read import read

ROOT = Path(os.environ.get("OWNLM_SAMPLES", "/"))
R = "usr/lib/R/site-library"
OFFICER = "usr/share/doc/r-cran-officer/tests/testthat/docs_dir"


def sample(name: str) -> bytes:
    """The file's bytes (Debian packs some with gzip); without it the test skips."""
    for path in (ROOT / name, ROOT / f"{name}.gz"):
        if path.is_file():
            data = path.read_bytes()
            return gzip.decompress(data) if path.suffix == ".gz" else data
    pytest.skip(f"{name} is not there: unpack its Debian package, name the folder in OWNLM_SAMPLES")


PHRASES = [
    (
        "usr/share/developers-reference/developers-reference.pdf",
        "The purpose of this document is to provide an overview of the recommended procedures and the available "
        "resources for Debian developers and maintainers.",
        "SCOPE OF THIS DOCUMENT",
        "3",
    ),
    (
        "usr/share/doc/debian-policy/policy.pdf",
        "Every package has a version number recorded in its Version control file field, described in Version.",
        "3.2 The version of a package",
        None,
    ),
    (
        "usr/share/doc/debian-policy/fhs/fhs-3.0.pdf",
        "/srv contains site-specific data which is served by this system.",
        "3.17.1. Purpose",
        None,
    ),
    (
        "usr/share/doc/maint-guide/maint-guide.en.pdf",
        "It could be just a collection of graphical data, etc.",
        "Modifying the source",
        None,
    ),
    (
        "usr/share/doc/debian-policy/policy.epub",
        "Every package has a version number recorded in its Version control file field, described in Version.",
        "3.2. The version of a package",
        None,
    ),
    (
        f"{R}/officer/doc_examples/example.docx",
        "Phasellus nec nunc vitae nulla interdum volutpat eu ac massa.",
        "Sub title 2",
        None,
    ),
    (f"{R}/officer/doc_examples/example.pptx", "Header 1: B | Header 2: 9.0 | Header 3: Salut", "Title", "1"),
    (
        f"{R}/readxl/extdata/deaths.xlsx",
        "Name: Prince | Profession: musician | Age: 57 | Has kids: TRUE | Date of birth: 06-07-58",
        "arts",
        None,
    ),
    (
        f"{R}/readxl/extdata/datasets.xlsx",
        "Sepal.Length: 4.9 | Sepal.Width: 3 | Petal.Length: 1.4 | Petal.Width: 0.2 | Species: setosa",
        "mtcars",
        None,
    ),
]


@pytest.mark.parametrize(("name", "phrase", "heading", "page"), PHRASES, ids=lambda value: str(value)[-25:])
def test_sentences_headings_and_pages_of_real_documents(extract, name, phrase, heading, page):
    extracted = extract(sample(name), Path(name).name)
    assert phrase in extracted.text
    assert heading in [mark.label for mark in extracted.marks if mark.kind == "heading"]
    if page:
        place = extracted.text.index(phrase)
        assert page in [m.label for m in extracted.marks if m.kind == "page" and m.start <= place < m.end]


def test_a_manual_in_two_formats_says_the_same():
    """Of the words of the policy manual's EPUB, nearly all are in its PDF, and not divided at line ends."""
    import re

    texts = [
        read(sample(f"usr/share/doc/debian-policy/policy.{kind}"), f"policy.{kind}", Limits()).text
        for kind in ("epub", "pdf")
    ]
    book, printed = (set(re.findall(r"[a-z]{4,}", text.lower())) for text in texts)
    assert len(book & printed) / len(book) > 0.97
    paragraphs = [line for line in texts[0].split("\n") if len(line) > 200 and line.isascii()]
    whole = " ".join(texts[1].split())
    same = sum(" ".join(paragraph.split()[:25]) in whole for paragraph in paragraphs)
    assert same / len(paragraphs) > 0.6


def test_every_sample_is_read_or_refused_in_words(extract):
    folders = [ROOT / R / "openxlsx" / "extdata", ROOT / R / "readxl" / "extdata", ROOT / OFFICER]
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    if not paths:
        pytest.skip(
            "no samples: unpack r-cran-openxlsx, r-cran-readxl, r-cran-officer, name the folder in OWNLM_SAMPLES"
        )
    refused = 0
    with ReaderPool() as pool:
        for path in paths:
            try:
                assert pool.extract(path).extracted.text.strip()
            except UnreadableDocument as error:
                refused += 1
                assert "crashed" not in str(error)
                assert "damaged" not in str(error)
    assert refused < len(paths)
