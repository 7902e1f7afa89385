"""Makes ``corpus_support.py`` importable, and a tokenizer once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from corpus_support import WORDS

    from ownlm.tokenizer.bpe import train_bpe

    folder = tmp_path_factory.mktemp("tokenizer")
    train_bpe([" ".join(WORDS)] * 8, 300, folder)
    return folder
