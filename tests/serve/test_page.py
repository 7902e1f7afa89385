"""The page in a real browser: what it shows, what it never does, by keyboard, on a phone, in the dark.

Needs Debian's chromium (or another Chromium) on the path; skips and says so where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ownlm.rag import ledger_redaction
from ownlm.rag.types import Mark
from ownlm.serve.settings import Settings

from .browser import Watch, chromium, eventually, needs_chromium
from .conftest import FakeLibrary, serving

pytestmark = needs_chromium

EVIL = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2> ![](http://198.51.100.7/x.png)"
LONG = "unbroken" * 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def watch(browser: Any, url: str) -> Iterator[Watch]:
    watched = Watch(browser, url)
    yield watched
    watched.check()
    watched.context.close()


@pytest.fixture
def phone(browser: Any, url: str) -> Iterator[Watch]:
    watched = Watch(browser, url, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    yield watched
    watched.check()
    watched.context.close()


def test_an_answer_is_quoted_with_its_source(watch: Watch) -> None:
    page = watch.page
    watch.ask("What costs a lost key?")
    assert page.inner_text(".claim blockquote") == "A lost key costs 40 pounds."
    assert page.inner_text(".claim .cite-title") == "Key policy"
    assert page.inner_text("#status") == "1 quotation from 1 document."
    page.click(".claim .cite")
    page.wait_for_selector("#panel mark")
    assert page.inner_text("#panel mark") == "A lost key costs 40 pounds."
    assert page.inner_text("#panel-title") == "Key policy" and page.inner_text("#panel-note") == "/docs/keys.md"
    assert page.get_attribute(".claim .cite", "aria-current") == "true"


def test_offsets_count_characters_and_not_utf16_units(watch: Watch) -> None:
    watch.ask("emoji door opens")
    watch.page.click(".claim .cite")
    watch.page.wait_for_selector("#panel mark")
    assert watch.page.inner_text("#panel mark") == "The emoji door opens at dawn."


def test_a_citation_far_into_a_long_document_is_in_view(library: FakeLibrary, watch: Watch) -> None:
    lines = [f"Row {number} of the inventory 🗝 lists shelf and box.\n" for number in range(3000)]
    lines[2000] = "The zeppelin hangs in the attic.\n"
    text = "".join(lines)
    marks = (Mark("heading", 0, 5, 1, "Row 0"), Mark("page", text.index("Row 1990 "), len(text), 0, "77"))
    library.add("/docs/inventory.txt", text, "Inventory", marks)
    page = watch.page
    watch.ask("where hangs the zeppelin?")
    page.click(".claim .cite")
    page.wait_for_selector("#panel mark")
    assert page.inner_text("#panel mark") == "The zeppelin hangs in the attic."
    box, body = page.locator("#panel mark").bounding_box(), page.locator("#panel-body").bounding_box()
    assert box and body and body["y"] <= box["y"] and box["y"] + box["height"] <= body["y"] + body["height"]
    assert "Page 77" in page.inner_text("#panel .reader")
    for side, edge in (("Earlier text", "Row 0 of"), ("Later text", "Row 2999 of")):
        for _ in range(20):
            if edge in page.inner_text("#panel .text"):
                break
            button = page.get_by_role("button", name=side)
            if button.is_visible():
                button.click()
            page.wait_for_timeout(50)
    shown = page.evaluate("document.querySelector('#panel .text').textContent")
    assert shown.replace("Page 77", "") == text  # joined without a gap or an overlap


def test_a_question_can_be_stopped(library: FakeLibrary, watch: Watch) -> None:
    library.delay = 1.0
    watch.page.fill("#question", "What costs a lost key?")
    watch.page.keyboard.press("Enter")
    watch.page.get_by_role("button", name="Stop").click()
    assert watch.page.inner_text("#answer .notice") == "Stopped."
    assert watch.page.input_value("#question") == "What costs a lost key?"
    eventually(lambda: library.asked == 1 and library.finished == 0)
    library.delay = 0
    watch.ask("What costs a lost key?")
    assert watch.page.locator(".claim").count() == 1


def test_an_answer_after_which_the_document_changed_says_so(library: FakeLibrary, watch: Watch) -> None:
    page = watch.page
    watch.ask("What costs a lost key?")
    library.remove([1])
    page.click(".claim .cite")
    page.wait_for_selector("#panel .notice")
    assert "no longer in the index" in page.inner_text("#panel .notice")
    watch.errors.clear()  # the browser logs the 404
    page.keyboard.press("Escape")
    library.add("/docs/keys.md", "A new line.\nKeys\n\nA lost key costs 40 pounds.\n", "Key policy")
    page.click(".claim .cite")
    page.wait_for_selector("#panel mark")
    assert page.inner_text("#panel mark") == "A lost key costs 40 pounds."
    assert "has moved" in page.inner_text("#panel .notice")


def test_abstention_is_plain_and_shows_what_came_nearest(library: FakeLibrary, watch: Watch, monkeypatch: Any) -> None:
    watch.ask("Who was pope?")
    assert watch.page.inner_text(".none-head") == "Your documents do not seem to answer this."
    assert watch.page.locator(".claim").count() == 0


def test_text_from_documents_is_only_ever_text(library: FakeLibrary, watch: Watch) -> None:
    page = watch.page
    library.add(f"/docs/{EVIL.replace('/', '')}.md", f"{EVIL} zebra\n", f"{EVIL} title", (Mark("page", 0, 9, 0, EVIL),))
    watch.go()
    watch.ask("zebra")
    assert page.inner_text(".claim blockquote") == f"{EVIL} zebra"
    page.click(".claim .cite")
    page.wait_for_selector("#panel mark")
    assert page.inner_text("#panel-title") == f"{EVIL} title"
    page.click("#open-documents")
    page.wait_for_selector(".document")
    page.click("#open-history")
    page.wait_for_selector(".entry")
    watch.ask(EVIL)
    assert page.inner_text(".question") == EVIL
    assert page.locator("main script, main img, aside script, aside img").count() == 0


def test_everything_by_keyboard(watch: Watch) -> None:
    page = watch.page
    press = page.keyboard.press
    focused = "document.activeElement.id || document.activeElement.className"
    page.evaluate("document.activeElement.blur()")
    press("/")
    assert page.evaluate(focused) == "question" and page.input_value("#question") == ""
    page.keyboard.type("What costs a lost key? /")
    assert page.input_value("#question").endswith("/")
    press("Enter")
    page.wait_for_selector(".read")
    assert page.input_value("#question") == ""
    for _ in range(3):
        press("Tab")
        if page.evaluate(focused) == "cite":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert page.evaluate(focused) == "cite" and outline == "solid"
    press("Enter")
    page.wait_for_selector("#panel mark")
    assert page.evaluate(focused) == "panel-title"
    press("Escape")
    assert page.locator("#panel").is_hidden() and page.evaluate(focused) == "cite"
    press("/")
    press("ArrowUp")
    assert page.input_value("#question") == "What costs a lost key? /"
    press("Shift+Enter")
    assert "\n" in page.input_value("#question")


def test_documents_are_removed_after_a_second_word(library: FakeLibrary, watch: Watch) -> None:
    page = watch.page
    page.click("#open-documents")
    page.wait_for_selector(".document")
    page.get_by_role("button", name="Remove Key policy").click()
    assert page.evaluate("document.activeElement.textContent") == "Keep it"
    page.keyboard.press("Escape")
    assert len(library.documents()) == 2
    page.get_by_role("button", name="Remove Key policy").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    eventually(lambda: page.locator(".document").count() == 1)
    assert [document.id for document in library.documents()] == [2]
    assert page.inner_text("#document-count") == "1"


def test_files_are_added_and_watched(library: FakeLibrary, watch: Watch) -> None:
    page = watch.page
    library.delay = 0.5
    files = [
        {"name": "Garden rota.md", "mimeType": "text/markdown", "buffer": b"The garden is watered by walruses.\n"},
        {"name": "scan.pdf", "mimeType": "application/pdf", "buffer": b"\0"},
    ]
    page.set_input_files("#files", files)
    said = "Indexing · 1 of 2 documents · 10 chunks · 1 s left"
    eventually(lambda: said in page.locator(".upload-note").all_text_contents())
    page.wait_for_selector(".upload.failed")
    assert "Its text cannot be read" in page.inner_text(".upload.failed")
    eventually(lambda: "Garden rota" in page.inner_text(".documents"))
    page.get_by_role("button", name="Dismiss").click()
    assert page.locator(".upload").count() == 0
    watch.errors.clear()
    page.set_input_files("#files", [{**files[0], "buffer": b"The garden is watered by otters.\n"}])
    page.get_by_role("button", name="Keep both").click()
    eventually(lambda: page.locator(".document").count() == 4)
    watch.errors.clear()  # the browser logs the 409
    watch.ask("garden watered by otters")
    assert "otters" in page.inner_text(".claim blockquote")


def test_a_crowd_of_files_is_told_in_one_line_and_can_be_cancelled(library: FakeLibrary, watch: Watch) -> None:
    page = watch.page
    library.delay = 0.3
    texts = [f"Text number {number}.\n".encode() for number in range(30)]
    files = [{"name": f"{at}.md", "mimeType": "text/markdown", "buffer": text} for at, text in enumerate(texts)]
    page.set_input_files("#files", files)
    eventually(lambda: page.locator(".batch").count() == 1)
    eventually(lambda: re.search(r"^1 of 30 files done · 1 chunk · \d+ s left", page.inner_text(".batch")) is not None)
    assert page.locator(".upload:visible").count() <= 3
    page.get_by_role("button", name="Cancel all").click()
    eventually(lambda: page.locator(".upload, .batch").count() == 0)
    assert 3 <= len(library.documents()) < 10


def test_dropped_files_are_added(library: FakeLibrary, watch: Watch) -> None:
    watch.page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["dropped text"], "Dropped.md"));
            const how = { dataTransfer: data, bubbles: true, cancelable: true };
            for (const type of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(type, how));
        }"""
    )
    eventually(lambda: watch.page.locator(".document").count() == 3)
    assert (library.home / "uploads" / "Dropped.md").read_text() == "dropped text"
    assert watch.page.locator("#drop").is_hidden()


def test_history_shows_an_answer_again(watch: Watch) -> None:
    watch.ask("What costs a lost key?")
    watch.ask("emoji door")
    watch.page.click("#open-history")
    watch.page.get_by_role("button", name="What costs a lost key?").click()
    watch.page.wait_for_selector(".when")
    assert watch.page.inner_text(".claim blockquote") == "A lost key costs 40 pounds."


def test_history_of_a_removed_document_says_so(library: FakeLibrary, watch: Watch) -> None:
    page = watch.page
    watch.ask("What costs a lost key?")
    with library.store.transaction() as connection:
        ledger_redaction.redact(connection, "/docs/keys.md")
    page.click("#open-history")
    page.click(".entry")
    page.wait_for_selector(".claim .redacted")
    assert "40 pounds" not in page.evaluate("document.getElementById('answer').textContent")
    assert page.inner_text(".claim .cite") == "keys.md"
    page.click(".claim .cite")
    page.wait_for_selector("#panel .reader")
    assert page.locator("#panel mark").count() == 0, "a span of text that is not known any more was marked"


def test_one_document_can_be_asked_alone(watch: Watch) -> None:
    page = watch.page
    page.click(".chip >> text=Key policy")
    page.get_by_role("button", name="Ask only this document").click()
    assert page.inner_text("#scope-title") == "Key policy"
    watch.ask("emoji door opens")
    assert page.locator(".none").count() == 1
    page.get_by_role("button", name="Ask all documents again").click()
    watch.ask("emoji door opens")
    assert page.locator(".claim").count() == 1


def test_an_empty_index_invites(tmp_path: Path, browser: Any) -> None:
    with serving(FakeLibrary(tmp_path)) as url:
        watched = Watch(browser, url)
        assert "Drop your documents here" in watched.page.inner_text("#welcome")
        watched.check()
        watched.context.close()


def test_no_sideways_scroll_at_360_pixels(library: FakeLibrary, phone: Watch) -> None:
    page = phone.page
    library.add(f"/docs/{LONG}.md", f"{LONG} giraffe\n", LONG, (Mark("heading", 0, 20, 1, LONG),))

    def fits() -> None:
        assert page.evaluate("[document.documentElement, document.body].every(e => e.scrollWidth <= 360)")
        parts = "[...document.querySelectorAll('main, aside, #panel-body')]"
        assert page.evaluate(f"{parts}.every(e => e.scrollWidth <= e.clientWidth)")

    phone.go()
    fits()
    phone.ask(f"giraffe {LONG}")
    fits()
    page.tap(".claim .cite")
    page.wait_for_selector("#panel mark")
    fits()
    eventually(lambda: page.evaluate("JSON.stringify([panel.offsetLeft, panel.offsetWidth])") == "[0,360]")
    assert page.evaluate("document.getElementById('main').inert")
    page.tap("#panel-close")
    assert not page.evaluate("document.getElementById('main').inert")
    for kind in ("documents", "history"):
        page.tap(f"#open-{kind}")
        page.wait_for_selector(".document, .entry")
        fits()
        page.tap("#panel-close")


def test_light_and_dark(browser: Any, url: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        watched = Watch(browser, url, color_scheme=scheme)
        seen[scheme] = watched.page.evaluate(background)
        watched.page.click("#theme")
        seen[f"{scheme} switched"] = watched.page.evaluate(background)
        watched.go()
        assert watched.page.evaluate(background) == seen[f"{scheme} switched"], "the choice was not kept"
        watched.check()
        watched.context.close()
    assert seen["light"] == seen["dark switched"] != seen["dark"] == seen["light switched"]


def test_the_key_is_asked_for_and_kept_with_the_tab(library: FakeLibrary, browser: Any) -> None:
    with serving(library, Settings(port=0, api_key="correct-horse")) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        for given in ("wrong-horse", "correct-horse"):
            page.wait_for_selector("#key[open]")
            page.fill("#key-input", given)
            page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready]")
        assert page.inner_text("#document-count") == "2"
        page.reload()
        page.wait_for_selector("body[data-ready]")
        assert page.evaluate("localStorage.length") == 0 and context.cookies() == []
        context.close()


def test_a_server_that_is_gone_is_named(library: FakeLibrary, browser: Any) -> None:
    with serving(library) as url:
        watched = Watch(browser, url)
    watched.ask("anything")
    assert "does not answer" in watched.page.inner_text("#answer .notice")
    watched.context.close()


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_the_contrast_that_wcag_asks_for(theme: int) -> None:
    css = (Path(__file__).parents[2] / "src/ownlm/serve/ui/app.css").read_text()
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", css)
    colours = {name: both[theme] for name, *both in found}
    pairs = [(ink, ground) for ink in ("ink", "soft", "faint", "accent", "danger") for ground in ("paper", "surface")]
    pairs += [("accent-ink", "accent"), ("mark-ink", "mark"), ("soft", "sunken"), ("danger", "danger-wash")]
    for ink, ground in [*pairs, *((ink, "accent-wash") for ink in ("ink", "soft", "accent"))]:
        light, dark = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
