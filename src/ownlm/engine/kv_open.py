"""Which store a model gets, from what a caller says of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ownlm.engine.kv_folder import FOLDER
from ownlm.engine.prefix_store import PrefixStore
from ownlm.engine.runner import Runner
from ownlm.errors import InvalidSetting
from ownlm.home import data_home


class OpenStore(NamedTuple):
    """A store, or none; ``notes`` say why not, where one was asked for."""

    store: PrefixStore | None = None
    notes: tuple[str, ...] = ()


def open_store(runner: Runner, where: bool | str | os.PathLike[str] | None, limit: int | None = None) -> OpenStore:
    """The store of a runner's model under ``where``: True is ``FOLDER`` in OWNLM_HOME, None and False are none.

    What stands in its way (a folder that cannot be written to, a model without a name) is a note, not an error: answers
    need no store. Raises InvalidSetting for a limit below 1.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidSetting("store_limit", limit, "give a number of bytes, 1 or more")
    if where is None or where is False:
        return OpenStore()
    if not runner.cache_key:
        return OpenStore(notes=("what is computed of prompts is not kept on disk: nothing names this model's weights",))
    try:
        root = data_home() / FOLDER if where is True else Path(where).expanduser()
        return OpenStore(PrefixStore(root, runner.cache_key, runner.block_bytes, limit))
    except (OSError, InvalidSetting) as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return OpenStore(notes=(f"what is computed of prompts is not kept on disk: {said}",))
