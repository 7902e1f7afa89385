"""A conversation in the terminal, and through pipes."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_fakes import echo_llm, tokenizer
from ownlm.cli import main
from ownlm.cli.conversation import Conversation
from ownlm.errors import OwnLMError, PromptTooLong
from tiny_llm import write_tiny_llm

Run = Callable[..., tuple[int, str, str]]
SAYS = "the fox, größer 🦊"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer(folder)
    return folder


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.fixture
def say(folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Any]:
    """Run a conversation over what is piped in: (stdout, stderr, the prompts as the model read them)."""

    def run(data: str | bytes, says: str = SAYS, system: str | None = None) -> tuple[str, str, list[str]]:
        llm, _ = echo_llm(folder, says)
        prompts: list[str] = []
        render = llm.render

        def noted(messages: Any, *more: Any, **options: Any) -> Any:
            prompts.append(render(messages, *more, **options).text)
            return render(messages, *more, **options)

        llm.render = noted  # type: ignore[method-assign]
        piped(monkeypatch, data if isinstance(data, bytes) else data.encode())
        with llm:
            Conversation(llm, {}, system).run()
        out, err = capfdbinary.readouterr()
        return out.decode(), err.decode(), prompts[1:]

    yield run


def test_lines_are_messages_and_answers_are_stdout(say: Any) -> None:
    out, err, prompts = say("Hello\nAnd 字?\n")
    assert out == f"{SAYS}\n{SAYS}\n"
    assert prompts[1] == (
        f"<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n{SAYS}<|im_end|>\n"
        "<|im_start|>user\nAnd 字?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert len(re.findall(r"\[\d+ tokens, [\d.]+ tokens/s, first after \d\.\d\d s, context \d+ of 4,096\]", err)) == 2
    assert ">>>" not in out + err


def test_reset_and_system_begin_anew(say: Any) -> None:
    _, err, prompts = say("a\n/reset\nb\n/system Be brief.\nc\n/reset\nd\n/system\ne\n", system="First.")
    brief, first = "<|im_start|>system\nBe brief.<|im_end|>\n", "<|im_start|>system\nFirst.<|im_end|>\n"
    assert prompts[0].startswith(first) and prompts[1].startswith(first) and "\na<" not in prompts[1]
    assert prompts[2].startswith(brief) and prompts[3].startswith(brief) and "\nc<" not in prompts[3]
    assert "system" not in prompts[4]
    assert err.count("a new conversation") == 4


def test_help_and_unknown_commands_say_something_and_reach_no_model(say: Any) -> None:
    out, err, prompts = say("/help\n/rest\n\n   \n/exit\nafter\n")
    assert out == "" and not prompts
    assert "/reset" in err and "Ctrl-C" in err and "no command /rest" in err


def test_a_path_is_a_message(say: Any) -> None:
    _, _, prompts = say("/etc/hosts, what is it?\n/reset now\n")
    assert len(prompts) == 2


def test_a_message_may_have_several_lines(say: Any) -> None:
    _, _, prompts = say('"""one\n\ntwo"""\n"""\nthree\n"""\n"""four"""\n')
    assert "user\none\n\ntwo<" in prompts[0] and "user\nthree<" in prompts[1] and "user\nfour<" in prompts[2]


@pytest.mark.parametrize(("data", "said"), [(b"ok\n\xff\xfe\n", "line 2"), (b'"""never ended\n', "ends within")])
def test_input_that_is_none_is_refused(say: Any, data: bytes, said: str) -> None:
    with pytest.raises(Exception, match=said):
        say(data)


def test_without_an_input_there_is_no_conversation(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    llm, _ = echo_llm(folder, SAYS)
    monkeypatch.setattr(sys, "stdin", None)
    with llm:
        Conversation(llm, {}).run()
    assert capfd.readouterr().out == ""


def test_half_characters_of_the_command_line_do_no_harm(say: Any) -> None:
    out, _, _ = say("x\n", system="caf\udce9")
    assert out == f"{SAYS}\n"


def test_what_the_model_writes_does_not_drive_the_terminal(say: Any) -> None:
    out, _, _ = say("x\n", says="a\x1b[31mb")
    assert out == "a\\x1b[31mb\n"


def test_an_error_ends_a_piped_conversation_and_not_one_in_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    llm, _ = echo_llm(folder, SAYS)
    with llm:
        talk = Conversation(llm, {"max_tokens": 5000})  # more than the context
        with pytest.raises(PromptTooLong):
            talk._answer("x")
        talk._terminal = True
        talk._answer("x")
        assert "4096" in (said := capfd.readouterr().err) and "/reset begins" in said
        monkeypatch.setattr(llm, "stream_chat", lambda *_, **__: (_ for _ in ()).throw(OwnLMError("the model failed")))
        talk._answer("x")
        assert capfd.readouterr().err == "the model failed\n" and not talk._messages


def test_an_answer_that_is_cut_says_so(folder: Path, monkeypatch: Any, capfd: pytest.CaptureFixture[str]) -> None:
    llm, _ = echo_llm(folder, SAYS)
    piped(monkeypatch, b"x\n")
    with llm:
        Conversation(llm, {"max_tokens": 2}).run()
    assert "cut: the limit of tokens was reached" in capfd.readouterr().err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))

    def call(*words: str | Path, data: str = "") -> tuple[int, str, str]:
        piped(monkeypatch, data.encode())
        code = main([str(word) for word in words])
        out, err = capfdbinary.readouterr()
        return code, out.decode("utf-8"), err.decode("utf-8")

    return call


def test_the_command_loads_a_model_and_talks(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = write_tiny_llm(tmp_path / "tiny")
    words = ("chat", "--model", model, "--device", "cpu", "--max-tokens", "8", "--seed", "3", "--temperature", "0.5")
    code, out, err = run(*words, data="Hello\nAgain\n")
    assert code == 0 and out.count("\n") >= 2 and err.count("first after") == 2
    assert run(*words, data="Hello\nAgain\n")[1] == out
    code, out, err = run(*words, "--context", "64", data="Hello\n" + "long " * 80 + "\n")
    assert code == 2 and err.splitlines()[-1].startswith("ownlm: ") and "64" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chat", "--model", "no-such-model"], "no-such-model"),
        (["chat", "--model", "/nowhere/at/all"], "/nowhere/at/all"),
        (["chat", "--model", "all-MiniLM-L6-v2-q8_0"], "encoder"),
        (["chat", "--model", "TINY", "--top-p", "3"], "top_p is 3.0"),
        (["chat", "--model", "TINY", "--context", "99999"], "512"),
        (["chat", "--model", "TINY", "--device", "abacus"], "abacus"),
        (["chat", "--model", "BASE"], "no chat template"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(run: Run, tmp_path: Path, words: list[str], said: str) -> None:
    pytest.importorskip("torch")
    where = {
        "TINY": lambda: write_tiny_llm(tmp_path / "tiny"),
        "BASE": lambda: write_tiny_llm(tmp_path / "b", chat=False),
    }
    code, out, err = run(*[str(where[word]()) if word in where else word for word in words], data="Hello\n")
    assert code in (1, 2) and out == "" and err.startswith("ownlm: ") and said in err and err.count("\n") == 1, err


class Terminal:
    """A child process on a terminal of its own."""

    def __init__(self, *command: str) -> None:
        self.master, slave = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def press(self, key: str, text: str) -> None:
        """Again and again, until the text comes: readline notices a signal that falls between its prompt and its wait
        with the next key alone, and on a busy machine there may be seconds between the two."""
        for _ in range(20):
            self.type(key)
            with contextlib.suppress(AssertionError):
                self.wait_for(text, 1)
                return
        raise AssertionError(f"{text!r} never came: {self.seen!r}")

    def wait_for(self, text: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} never came: {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:  # the child is gone
                    assert text in self.seen, self.seen
        self.seen = self.seen.split(text, 1)[1]


def test_ctrl_c_stops_the_answer_and_not_the_chat(folder: Path) -> None:
    terminal = Terminal(str(Path(__file__).parent / "chat_child.py"), str(folder), "one two three four five " * 40)
    try:
        terminal.wait_for(">>> ")
        terminal.type("Hello\n")
        terminal.wait_for("three")
        terminal.type("\x03")
        terminal.wait_for("stopped]")
        terminal.wait_for(">>> ")
        terminal.press("\x03", "Ctrl-D ends")
        terminal.wait_for(">>> ")
        terminal.type("/help\n")
        terminal.wait_for("begin a new conversation")
        terminal.wait_for(">>> ")
        terminal.type("\x04")
        terminal.wait_for("ended")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)


def test_nothing_of_the_model_is_loaded_for_help() -> None:
    code = "import sys\nfrom ownlm.cli import main\nmain(['chat', '--help'])\nprint(*sys.modules, file=sys.stderr)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "tokenizers", "llguidance"} & set(found.stderr.split())
