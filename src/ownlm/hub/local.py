"""Where models are: the one that ships, a folder or file, a folder of ours, or the Hub's cache.

A model is a folder in the Hugging Face layout, or one GGUF file.
"""

from __future__ import annotations

from pathlib import Path

from ownlm.errors import InvalidSetting, NotFound
from ownlm.home import data_home
from ownlm.hub.cache import Cached, Reference, find

DEFAULT = "all-MiniLM-L6-v2-q8_0"
STARTER = "starter-"
"""How the name of the language model that ships begins; its size and format follow."""
_WEIGHTS = Path(__file__).parents[1] / "weights"
_SHOWN = 12


def shipped() -> list[str]:
    """Names of the models inside this package."""
    return sorted(config.parent.name for config in _WEIGHTS.glob("*/config.json"))


def starter() -> str:
    """The name of the language model inside this package. Raises NotFound if this installation has none."""
    for name in shipped():
        if name.startswith(STARTER):
            return name
    raise NotFound("no language model ships with this installation: give one with --model, such as a Hub id ORG/NAME")


def shipped_folder(name: str) -> Path:
    """Where a model that ships is."""
    return _WEIGHTS / name


def models_home() -> Path:
    """The folder for models that were made here, below ``OWNLM_HOME``."""
    return data_home() / "models"


def resolve(name: str | Path | None = None) -> Path:
    """The folder or GGUF file of a model.

    ``name`` is None (the encoder that ships), a shipped model's name, a path, the name of a folder below
    ``OWNLM_HOME/models``, or a Hub id in the cache: ``ORG/NAME``, with ``@REVISION`` and ``:PART`` of a GGUF file's
    name where there are several. Raises NotFound, listing what is there, and InvalidSetting for a choice left open.
    """
    wanted = DEFAULT if name is None else str(name)
    if wanted in shipped():
        return _WEIGHTS / wanted
    path = Path(wanted).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return path
    if path.is_dir():
        return model_in(path, wanted)
    reference = Reference.parse(wanted)
    if reference is None:
        own = models_home() / wanted
        if wanted == Path(wanted).name and own.is_dir():
            return model_in(own, wanted)
    else:
        cached = find(reference)
        if cached is not None:
            return _chosen(cached, reference)
    there = ", ".join(shipped()) or "none"
    if reference is not None:
        raise NotFound(f"there is no model {wanted!r} here: give a folder or a GGUF file, or run: ownlm pull {wanted}")
    raise NotFound(
        f"there is no model {wanted!r}: give a model folder, a GGUF file, a Hub id such as ORG/NAME, "
        f"or one that ships ({there})"
    )


def model_in(folder: Path, name: str) -> Path:
    """The folder itself if it is a model, or the GGUF file in it."""
    if (folder / "config.json").is_file():
        return folder
    files = first_files(folder)
    if len(files) == 1:
        return files[0]
    if files:
        raise InvalidSetting("model", name, f"it has several GGUF files, give one: {_listed(files)}")
    there = ", ".join(shipped()) or "none"
    raise NotFound(f"the folder {name} holds no model (no config.json, no .gguf file); models that ship: {there}")


def first_files(folder: Path) -> list[Path]:
    """GGUF models directly in a folder: of one in several files, the first."""
    return [
        path
        for path in sorted(folder.glob("*.gguf"))
        if path.is_file() and ("-of-" not in path.name or "-00001-of-" in path.name)
    ]


def _chosen(cached: Cached, reference: Reference) -> Path:
    if reference.file is None:
        return model_in(cached.snapshot, str(reference))
    files = [path for path in first_files(cached.snapshot) if reference.file.lower() in path.name.lower()]
    exact = [path for path in files if reference.file in (path.name, path.stem)]
    if len(exact or files) == 1:
        return (exact or files)[0]
    if files:
        raise InvalidSetting("model", str(reference), f"several files match, give more of one: {_listed(files)}")
    raise NotFound(f"no GGUF file of {reference.id} here has {reference.file!r} in its name: ownlm pull {reference}")


def _listed(files: list[Path]) -> str:
    names = [path.name for path in files]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
