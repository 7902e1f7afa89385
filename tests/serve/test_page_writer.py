"""The page where a model may write: its name, answers in its words with their sources, and a chat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ownlm.errors import OwnLMError
from ownlm.rag import ledger_redaction

from .browser import Watch, chromium, eventually, needs_chromium
from .conftest import FakeLibrary, serving
from .writer_fixtures import FakeLLM, WritingLibrary

pytestmark = needs_chromium

EVIL = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2> ![](http://198.51.100.7/x.png)"
WRITTEN = "A lost key costs: “A lost key costs 40 pounds.” [1] The 🗝 door opens at dawn. [2] All keys are of brass."
FOCUSED = "document.activeElement.id || document.activeElement.className"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def library(tmp_path: Path) -> Iterator[WritingLibrary]:
    fake = WritingLibrary(tmp_path)
    fake.add("/docs/keys.md", "Keys\n\nA lost key costs 40 pounds.\nReport it to the porter.\n", "Key policy")
    fake.add("/docs/door.md", "🗝🗝🗝 first line\nThe 🗝 door opens at dawn.\n", "Door")
    yield fake
    fake.store.close()


@pytest.fixture
def llm() -> FakeLLM:
    return FakeLLM(text=WRITTEN)


@pytest.fixture
def url(library: WritingLibrary, llm: FakeLLM) -> Iterator[str]:
    with serving(library, llm=llm) as address:
        yield address


@pytest.fixture
def watch(browser: Any, url: str) -> Iterator[Watch]:
    watched = Watch(browser, url)
    yield watched
    watched.check()
    watched.context.close()


@pytest.fixture
def chat(watch: Watch) -> Any:
    watch.page.click("#view-chat")
    return watch.page


def say(page: Any, text: str) -> None:
    """Send a message."""
    page.fill("#message", text)
    page.keyboard.press("Enter")


def answered(page: Any, count: int) -> str:
    """So many answers are there, whole; the text of the last."""
    eventually(lambda: page.locator(".message.assistant").count() == count and free(page))
    return str(page.locator(".message.assistant").last.inner_text())


def free(page: Any) -> bool:
    """Whether nothing is being written in the chat."""
    return bool(page.get_attribute("#message-send", "aria-label") == "Send")


def test_without_a_writer_nothing_of_it_is_there(tmp_path: Path, browser: Any) -> None:
    fake = FakeLibrary(tmp_path)
    fake.add("/docs/keys.md", "A lost key costs 40 pounds.\n", "Key policy")
    with serving(fake) as url:
        watched = Watch(browser, url)
        watched.page.goto(f"{url}/#chat")
        watched.page.wait_for_selector("body[data-ready]")
        for hidden in ("#views", "#how", "#chat", ".writer", ".when-writing", ".narrow-only"):
            assert watched.page.locator(f"{hidden}:visible").count() == 0, hidden
        sent: list[Any] = []
        watched.page.on("request", lambda request: sent.append(request.post_data))
        watched.ask("What costs a lost key?")
        assert [json.loads(body) for body in sent if body] == [{"question": "What costs a lost key?"}]
        assert watched.page.locator(".claim blockquote").count() == 1
        watched.check()
        watched.context.close()
    fake.store.close()


def test_a_writer_without_a_chat_template_only_writes(library: WritingLibrary, browser: Any) -> None:
    with serving(library, llm=FakeLLM(chat=False)) as url:
        watched = Watch(browser, f"{url}/#chat")
        assert watched.page.locator("#how").is_visible()
        assert not watched.page.locator("#views, #chat").first.is_visible() and watched.page.is_visible("#question")
        watched.context.close()


def test_the_writer_and_its_measured_speed_are_shown(watch: Watch) -> None:
    shown = watch.page.locator("#how .writer")
    assert shown.inner_text() == "SmolLM3-3B-q4", "a speed is shown before any was measured"
    watch.page.click("label[for=mode-generate]")
    watch.ask("What costs a lost key?")
    eventually(lambda: shown.evaluate("node => node.textContent") == "SmolLM3-3B-q434\u00a0tokens/s")


def test_quoting_stays_as_it_was(watch: Watch) -> None:
    watch.ask("What costs a lost key?")
    assert watch.page.inner_text(".claim blockquote") == "A lost key costs 40 pounds."
    assert watch.page.locator(".statement, .number, .sources").count() == 0


def test_an_answer_is_written_with_numbers_that_open_the_cited_words(watch: Watch) -> None:
    page = watch.page
    page.click("label[for=mode-generate]")
    assert "written by the model from 2 documents" in page.inner_text("#welcome")
    watch.ask("What costs a lost key?")
    assert page.locator(".said").all_inner_texts() == [
        "A lost key costs: “A lost key costs 40 pounds.” [1] not checked",
        "The 🗝 door opens at dawn. [2] not checked",
        "All keys are of brass. unsupported",
    ]
    assert page.inner_text(".exact") == "“A lost key costs 40 pounds.”"
    assert page.inner_text("#status") == "3 statements from 2 documents."
    assert page.locator(".sources li").all_inner_texts() == ["[1]Key policy", "[2]Door"]
    page.get_by_role("button", name="Source 1: Key policy").click()
    page.wait_for_selector("#panel mark")
    assert page.inner_text("#panel mark") == "A lost key costs 40 pounds.", "a quotation's own span is marked"
    assert page.locator("[aria-current=true]").all_inner_texts() == ["[1]"]
    page.get_by_role("button", name="Source 2: Door").click()
    eventually(lambda: page.inner_text("#panel-title") == "Door")
    assert page.locator("#panel mark").evaluate("node => node.textContent").startswith("🗝🗝🗝 first line")
    page.click("#open-history")
    page.click(".entry")
    page.wait_for_selector(".when")
    assert page.locator(".statement").count() == 3 and page.locator(".number").count() == 2


def test_the_text_streams_in_and_can_be_stopped(llm: FakeLLM, watch: Watch) -> None:
    page = watch.page
    llm.text, llm.delay = WRITTEN * 20, 0.05
    page.click("label[for=mode-generate]")
    page.fill("#question", "What costs a lost key?")
    page.keyboard.press("Enter")
    eventually(lambda: page.locator(".draft").count() == 1 and len(page.inner_text(".draft")) > 20)
    assert page.inner_text("#status") == "Writing…"
    page.keyboard.press("Escape")
    page.wait_for_selector("#answer .notice")
    assert page.inner_text("#answer .notice") == "Stopped." and page.locator(".draft.broken").count() == 1
    assert WRITTEN.startswith(page.inner_text(".draft")[:20])
    llm.text, llm.delay = WRITTEN, 0
    watch.ask("What costs a lost key?")
    assert page.locator(".statement").count() == 3 and page.locator(".draft").count() == 0


def test_a_failure_in_the_middle_keeps_what_was_written(library: WritingLibrary, watch: Watch) -> None:
    library.failure = OwnLMError("the engine stopped: out of memory")
    watch.page.click("label[for=mode-generate]")
    watch.ask("What costs a lost key?")
    assert "the engine stopped" in watch.page.inner_text("#answer .notice")
    assert watch.page.inner_text(".draft.broken") == WRITTEN


def test_a_model_that_finds_no_answer_abstains_plainly(llm: FakeLLM, watch: Watch) -> None:
    llm.text = "The documents do not answer this."
    watch.page.click("label[for=mode-generate]")
    watch.ask("Who was pope?")
    assert watch.page.inner_text(".none-text").startswith("The model wrote no answer")
    assert watch.page.locator(".draft, .statement").count() == 0 and watch.page.locator(".passage").count() == 2


def test_the_choice_is_kept_and_made_by_keyboard(watch: Watch) -> None:
    page = watch.page
    page.focus("#question")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "mode-extract"
    assert page.evaluate("getComputedStyle(document.querySelector('label[for=mode-extract]')).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    assert page.is_checked("#mode-generate")
    watch.go()
    assert page.is_checked("#mode-generate") and page.locator(".when-writing").first.is_visible()


def test_a_written_answer_whose_document_was_removed_says_so(library: WritingLibrary, watch: Watch) -> None:
    page = watch.page
    page.click("label[for=mode-generate]")
    watch.ask("What costs a lost key?")
    with library.store.transaction() as connection:
        ledger_redaction.redact(connection, "/docs/keys.md")
    page.click("#open-history")
    page.click(".entry")
    page.wait_for_selector(".statement .redacted")
    assert "40 pounds" not in page.evaluate("document.getElementById('answer').textContent")
    assert page.locator(".number").all_inner_texts() == ["[2]"]


def test_a_conversation(llm: FakeLLM, watch: Watch, chat: Any) -> None:
    assert chat.inner_text("#chat-start h1") == "Chat with SmolLM3-3B-q4" and chat.is_disabled("#chat-new")
    assert chat.evaluate(FOCUSED) == "message" and chat.is_hidden("#question")
    llm.text = "Of brass."
    say(chat, "What is the key of?")
    assert answered(chat, 1) == "Of brass." and chat.is_hidden("#chat-start")
    chat.keyboard.type("Of old")
    chat.keyboard.press("Shift+Enter")
    chat.keyboard.type("brass?")
    chat.keyboard.press("Enter")
    answered(chat, 2)
    first = ("user", "What is the key of?")
    assert llm.heard == [[first], [first, ("assistant", "Of brass."), ("user", "Of old\nbrass?")]]
    assert chat.input_value("#message") == ""
    eventually(lambda: "tokens/s" in chat.inner_text("#chat .writer"))
    chat.click("#chat-new")
    assert chat.locator(".message").count() == 0 and chat.evaluate(FOCUSED) == "message"
    say(chat, "Anew")
    answered(chat, 1)
    assert llm.heard[-1] == [("user", "Anew")]


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_what_is_written_can_be_stopped(llm: FakeLLM, chat: Any, how: str) -> None:
    llm.text, llm.delay = "word " * 2000, 0.03
    say(chat, "Go on for ever")
    eventually(lambda: "word word" in chat.inner_text(".message.assistant"))
    assert chat.inner_text("#chat-status") == "Writing…" and chat.get_attribute("#messages", "aria-busy") == "true"
    if how == "Escape":
        chat.keyboard.press("Escape")
    else:
        chat.get_by_role("button", name="Stop").click()
    assert answered(chat, 1).endswith("Stopped.")
    eventually(lambda: llm.stopped == 1)
    llm.text, llm.delay = "Yes.", 0
    say(chat, "Enough?")
    assert answered(chat, 2) == "Yes."
    assert [role for role, _ in llm.heard[-1]] == ["user", "assistant", "user"]


def test_what_was_not_answered_at_all_goes_back_to_where_it_was_typed(llm: FakeLLM, watch: Watch, chat: Any) -> None:
    llm.failure = OwnLMError("the engine stopped: out of memory")
    say(chat, "Hello")
    chat.wait_for_selector(".message.notice")
    assert "the engine stopped" in chat.inner_text(".message.notice")
    assert chat.input_value("#message") == "Hello" and chat.locator(".message.user").count() == 0
    llm.failure, llm.text = None, "Good day."
    chat.keyboard.press("Enter")
    assert answered(chat, 1) == "Good day." and chat.locator(".message.notice").count() == 0
    llm.text, llm.delay = "word", 30.0
    say(chat, "And now?")
    chat.keyboard.press("Escape")
    eventually(lambda: free(chat) and chat.input_value("#message") == "And now?")
    assert chat.locator(".message.user").count() == 1
    watch.errors.clear()  # the browser logs the refusal


def test_a_new_conversation_ends_the_old_one(llm: FakeLLM, chat: Any) -> None:
    llm.text, llm.delay = "old " * 2000, 0.02
    say(chat, "Go on")
    eventually(lambda: "old" in chat.inner_text(".message.assistant"))
    chat.click("#chat-new")
    llm.text, llm.delay = "new", 0
    say(chat, "Hello")
    assert answered(chat, 1) == "new"
    eventually(lambda: llm.stopped == 1)
    assert chat.inner_text("#messages").split() == ["Hello", "new"]


def test_what_the_model_writes_is_only_ever_text(llm: FakeLLM, chat: Any) -> None:
    llm.text = f"{EVIL}\n\n```html\n{EVIL}\n\n  <b>two</b>\n```\n\nand {EVIL}"
    say(chat, EVIL)
    answered(chat, 1)
    assert chat.inner_text(".message.user") == EVIL
    assert chat.locator(".message pre").evaluate("node => node.textContent") == f"{EVIL}\n\n  <b>two</b>"
    assert chat.locator("main script, main img, main b").count() == 0


def test_thoughts_stand_apart_and_are_not_sent_again(llm: FakeLLM, chat: Any) -> None:
    llm.thinks, llm.text = True, "<think>Brass, surely.</think>Of brass."
    say(chat, "Of what?")
    answered(chat, 1)
    assert chat.inner_text(".message-text >> nth=1") == "Of brass."
    assert not chat.locator(".thought-text").last.is_visible()
    chat.get_by_text("Thoughts").click()
    assert chat.locator(".thought-text").last.inner_text() == "Brass, surely."
    say(chat, "Sure?")
    answered(chat, 2)
    assert llm.heard[-1][1] == ("assistant", "Of brass.")


def test_an_answer_that_had_no_room_says_so(llm: FakeLLM, chat: Any) -> None:
    llm.ends = "length"
    say(chat, "Go on")
    assert answered(chat, 1).endswith("because the model has no room for more.")


def test_back_goes_from_the_chat_to_the_question_and_nothing_is_lost(watch: Watch, chat: Any) -> None:
    say(chat, "Hello")
    answered(chat, 1)
    chat.go_back()
    eventually(lambda: bool(chat.is_visible("#question")) and not chat.is_visible("#chat"))
    chat.go_forward()
    eventually(lambda: bool(chat.is_visible("#chat")))
    assert chat.locator(".message.assistant").count() == 1
    chat.evaluate("document.activeElement.blur()")
    chat.keyboard.press("/")
    assert chat.evaluate(FOCUSED) == "message"
    chat.click("#view-ask")
    watch.ask("What costs a lost key?")
    chat.click("#view-chat")
    chat.click("#open-history")
    chat.click(".entry")
    eventually(lambda: bool(chat.is_visible("#answer .when")))


def test_the_chat_follows_the_text_unless_one_reads_further_up(llm: FakeLLM, chat: Any) -> None:
    llm.text, llm.delay = "line\n" * 400, 0.01
    say(chat, "Go on")
    main = chat.locator("#main")
    eventually(lambda: main.evaluate("node => node.scrollTop") > 300)
    assert main.evaluate("node => node.scrollHeight - node.scrollTop - node.clientHeight") < 80
    main.evaluate("node => { node.scrollTop = 0; }")
    chat.wait_for_timeout(200)
    assert main.evaluate("node => node.scrollTop") == 0
    assert chat.locator("#chat-form").bounding_box()["y"] < 800, "the box is always in reach"
    chat.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_sideways_scroll_at_360_pixels(
    library: WritingLibrary, llm: FakeLLM, url: str, browser: Any, scheme: str
) -> None:
    llm.name = "An-unbreakable-and-long-name-of-a-model-" * 3
    for number in range(1200):
        library.add(f"/docs/{number}.md", "x\n")
    phone = Watch(browser, url, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True,
                  color_scheme=scheme)  # fmt: skip
    page = phone.page

    def fits() -> None:
        assert page.evaluate("[document.documentElement, document.body].every(e => e.scrollWidth <= 360)")
        assert page.evaluate("main.scrollWidth <= main.clientWidth")
        assert page.evaluate("theme.getBoundingClientRect().right") <= 360
        assert page.locator(".bar").bounding_box()["height"] < 60, "the bar takes two lines"

    fits()
    page.tap("label[for=mode-generate]")
    llm.text = f"“A lost key costs 40 pounds.” [1] {'unbroken' * 60}. [2]"
    phone.ask("What costs a lost key?")
    fits()
    page.tap(".number >> nth=0")
    page.wait_for_selector("#panel mark")
    page.tap("#panel-close")
    page.tap("#view-chat")
    fits()
    llm.text = f"{'unbroken' * 60}\n```\n{'code ' * 90}\n```\n"
    say(page, "unbroken" * 60)
    answered(page, 1)
    fits()
    phone.check()
    phone.context.close()
