"""Make the handbook's binary papers (PDF, DOCX, XLSX, PPTX, EPUB) from the sources beside this script.

    python examples/make_handbook.py [--into FOLDER]

``sources/building/x.pdf.md`` becomes ``handbook/building/x.pdf``. The plain papers (Markdown, text, HTML,
CSV) are written by hand in the handbook itself. A second run gives the same bytes with the same library
versions. Needs the development extra (reportlab).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from papers.epub import make_epub  # noqa: E402
from papers.markup import Paper, parse  # noqa: E402
from papers.pdf import make_pdf  # noqa: E402
from papers.sheets import make_xlsx  # noqa: E402
from papers.slides import make_pptx  # noqa: E402
from papers.word import make_docx  # noqa: E402

WRITERS: dict[str, Callable[[Paper], bytes]] = {
    ".pdf": make_pdf,
    ".docx": make_docx,
    ".xlsx": make_xlsx,
    ".pptx": make_pptx,
    ".epub": make_epub,
}


def make(sources: Path, into: Path) -> list[Path]:
    """Write every paper that ``sources`` describes below ``into``; the paths written, sorted."""
    written = []
    for source in sorted(sources.rglob("*.md")):
        target = into / source.relative_to(sources).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(WRITERS[target.suffix](parse(source)))
        written.append(target)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the handbook's PDF, DOCX, XLSX, PPTX and EPUB papers.")
    parser.add_argument("--into", type=Path, default=HERE / "handbook", help="folder to write to")
    for path in make(HERE / "sources", parser.parse_args().into):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
