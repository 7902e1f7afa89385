"""A model of random weights that chats, behind the real server on a real port."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "model"), str(TESTS)]

from tiny_families import save  # noqa: E402

from ownlm import LLM  # noqa: E402
from ownlm.serve.run import address, bind, server  # noqa: E402
from ownlm.serve.settings import Settings  # noqa: E402

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}"
    "\n{% endfor %}{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PLAIN_TEMPLATE = (
    TEMPLATE.replace("<tool_call>\n", "").replace("\n</tool_call>", "").replace("arguments", "parameters", 1)
)
SPECIAL = ["<eos>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


def make_model(folder: Path, template: str = TEMPLATE) -> Path:
    """A Llama of random weights over bytes, with an end, FIM tokens and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    for joined in ("th", "in", '{"', '":', "Ġt"):
        vocabulary[joined] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, [("t", "h"), ("i", "n"), ("{", '"'), ('"', ":"), ("Ġ", "t")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    size = tokenizer.get_vocab_size()
    save(folder, "llama", vocab_size=size, eos_token_id=tokenizer.token_to_id("<eos>"), bos_token_id=None,
         max_position_embeddings=2048, initializer_range=0.2)  # fmt: skip
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>", "chat_template": template}))
    return folder


class Served:
    """A server and its model."""

    def __init__(self, llm: LLM, url: str, settings: Settings) -> None:
        self.llm, self.url, self.settings = llm, url, settings

    @property
    def base(self) -> str:
        return f"{self.url}/v1"


def run_server(folder: Path, **settings: object) -> Iterator[Served]:
    with LLM(folder, context=1024) as llm, serving_llm(llm, **settings) as served:
        yield served


@contextlib.contextmanager
def serving_llm(llm: LLM, **settings: object) -> Iterator[Served]:
    """A server on a free port. The model is the caller's."""
    chosen = Settings(port=0, **settings)  # type: ignore[arg-type]
    with bind(chosen) as listener:
        listener.listen(2048)
        uvicorn = server(None, chosen, llm)
        thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield Served(llm, address(listener, chosen), chosen)
        finally:
            uvicorn.should_exit = True
            thread.join(20)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def served(model_folder: Path) -> Iterator[Served]:
    yield from run_server(model_folder, keep_alive_seconds=0.05)


@pytest.fixture(scope="session")
def lenient(model_folder: Path) -> Iterator[Served]:
    yield from run_server(model_folder, lenient=True)
