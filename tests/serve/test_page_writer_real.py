"""The page over a real library and a model of random weights: what it writes is nonsense, the way to it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ownlm.rag.library import Library

from .browser import Watch, chromium, eventually, needs_chromium
from .conftest import serving

pytestmark = [needs_chromium, pytest.mark.slow]
PATIENCE = 90  # on two busy cores
pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parent / "openai"))  # not a package


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    from openai_fixtures import make_model

    from ownlm import LLM

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "keys.md").write_text("# Keys\n\nA lost key costs 40 pounds.\n")
    with (
        Library.open(tmp_path / "home") as library,
        LLM(make_model(tmp_path / "tiny"), context=2048) as llm,
    ):
        library.sync([tmp_path / "docs"])
        with serving(library, llm=llm) as url, chromium() as browser:
            watched = Watch(browser, url)
            watched.page.set_default_timeout(PATIENCE * 1000)
            yield watched
            watched.check()


def writing(page: Any) -> bool:
    """Whether the model is at it."""
    return bool(page.get_attribute("#message-send", "aria-label") == "Stop")


def test_asked_and_talked_with(watch: Watch) -> None:
    page = watch.page
    page.click("label[for=mode-generate]")
    watch.ask("What does a lost key cost?")
    assert page.locator(".statement, .none").count() >= 1 and page.locator("#answer .notice").count() == 0
    assert "Keys" in page.locator("#answer").evaluate("node => node.textContent")
    eventually(lambda: "tokens/s" in page.inner_text("#how .writer"), PATIENCE)

    page.click("#view-chat")
    page.fill("#message", "Hello")
    page.keyboard.press("Enter")
    eventually(lambda: page.inner_text("#chat-status") == "Writing…" or not writing(page), PATIENCE)
    page.keyboard.press("Escape")
    eventually(lambda: not writing(page), PATIENCE)
    page.fill("#message", "word " * 1000)
    page.keyboard.press("Enter")
    page.wait_for_selector(".message.notice")
    assert "2048" in page.inner_text(".message.notice"), "a conversation that is too long is told so"
    watch.errors.clear()  # the browser logs the refusal
