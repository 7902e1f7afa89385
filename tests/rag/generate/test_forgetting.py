"""When a document goes, nothing of what a model read or wrote of it stays: prompt ids spell it as its text does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ownlm.prompts.grounded import PROMPT, Grounded, Source
from ownlm.rag.generate.generator import Messages, OnText, Written
from ownlm.rag.library import Library


class Spelling:
    """A writer whose token ids are characters."""

    name, enforced, fingerprint, prompt = "spelling", False, "x", PROMPT

    def fits(self, messages: Messages, max_tokens: int) -> bool:
        return True

    def write(
        self, messages: Messages, passages: object, max_tokens: int, on_text: OnText, owners: object = ()
    ) -> Written:
        ids = tuple(map(ord, "".join(message["content"] for message in messages)))
        return Written("The code is hushabye. It opens at nine. [1]", True, ids, len(ids), 9)


def test_a_removed_document_leaves_no_words_in_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "gate.md").write_text("# Gate\n\nThe code of the gate is hushabye.\n")
    with Library.open(tmp_path / "home") as library:
        library.sync([tmp_path / "docs"])
        given = library.write("What is the code of the gate?", Spelling())
        before = library.entry(given.ledger_id)
        ids = before.settings["prompt_ids"]
        assert "hushabye" in "".join(map(chr, ids)) and "hushabye" in before.answer["answer"]
        assert PROMPT.messages(Grounded("What is the code of the gate?", (Source("x", "y"),)))[0]["content"] in "".join(
            map(chr, ids)
        )
        library.remove([given.passages[0].document])
        after = library.entry(given.ledger_id)
    assert after.settings["prompt_ids"] is None
    assert after.settings["prompt_sha256"] == hashlib.sha256(b"".join(i.to_bytes(4, "little") for i in ids)).hexdigest()
    assert "hushabye" not in json.dumps(after.to_dict())
    assert after.question == before.question
