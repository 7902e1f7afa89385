"""What models are on this machine, how much room they take, and removing them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ownlm.errors import InvalidSetting, NotFound
from ownlm.hub.cache import Reference, cache_folder, cached, find, repository
from ownlm.hub.local import first_files, models_home, resolve, shipped, shipped_folder
from ownlm.hub.packed import all_packed


@dataclass(frozen=True, slots=True)
class Model:
    """A model on this machine. ``name`` is what ``resolve`` takes; ``bytes`` is what its files take on the disk."""

    name: str
    source: Literal["ships", "made here", "hub cache"]
    path: Path
    bytes: int


def list_models() -> list[Model]:
    """The models that ship, those in ``OWNLM_HOME/models``, and those in the Hub's cache."""
    found = [Model(name, "ships", shipped_folder(name), size_of(shipped_folder(name))) for name in shipped()]
    home = models_home()
    for path in sorted(home.iterdir()) if home.is_dir() else ():
        if path.is_dir() and (path / "config.json").is_file():
            found.append(Model(path.name, "made here", path, size_of(path)))
        elif path.is_dir() or path.suffix == ".gguf":
            files = first_files(path) if path.is_dir() else [path]
            found += [Model(str(file), "made here", file, _size(_parts(file))) for file in files]
    for model in cached():
        reference = Reference(model.id) if find(Reference(model.id)) == model else Reference(model.id, model.commit)
        if (model.snapshot / "config.json").is_file() and any(model.snapshot.glob("*.safetensors")):
            found.append(Model(str(reference), "hub cache", model.snapshot, size_of(model.snapshot)))
        for file in first_files(model.snapshot):
            name = f"{reference}:{file.stem}"
            found.append(Model(name, "hub cache", file, _size(_parts(file))))
    return found


def remove(name: str) -> int:
    """Remove a model of the Hub's cache (all of it, or with ``:PART`` one GGUF file) or of ``OWNLM_HOME/models``.

    Returns the bytes that this freed. Raises NotFound if it is not here, InvalidSetting if it is not ours to remove.
    """
    if name in shipped():
        raise InvalidSetting("model", name, "it is part of the package; uninstall that instead")
    home = models_home()
    path = Path(name).expanduser()
    own = path if path.exists() else home / name
    if own.exists():
        if not own.resolve().is_relative_to(home.resolve()) or own.resolve() == home.resolve():
            raise InvalidSetting("model", name, f"it is not in {home} or the Hub's cache: delete it yourself")
        return _remove_packed(own) + _remove(own, home)
    reference = Reference.parse(name)
    folder = None if reference is None else repository(reference.id)
    if reference is None or folder is None or not folder.is_dir():
        raise NotFound(f"there is no model {name!r} here: ownlm list shows what is")
    if reference.file is None:
        snapshots = [path for path in folder.glob("snapshots/*") if path.is_dir()]
        models = snapshots + [file for path in snapshots for file in first_files(path)]
        return sum(_remove_packed(model) for model in models) + _remove(folder, cache_folder())
    first = resolve(name)
    freed = _remove_packed(first)
    for link in _parts(first):
        blob = link.resolve()
        freed += _size([blob])
        link.unlink()
        # Another commit may show the same bytes.
        if not any(other.resolve() == blob for other in folder.glob("snapshots/*/**/*")):
            blob.unlink(missing_ok=True)
    return freed


def _remove_packed(model: Path) -> int:
    """Delete what was packed of a model, or of the GGUF files in a folder; returns its bytes."""
    models = [model, *first_files(model)] if model.is_dir() else [model]
    files = {file for each in models for file in all_packed(each)}
    freed = _size(files)
    for file in files:
        file.unlink(missing_ok=True)
    return freed


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; one that is linked twice counts once."""
    return _size([path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()])


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in {file.resolve() for file in files})


def _parts(first: Path) -> list[Path]:
    """All files of a GGUF model whose first is given."""
    if "-00001-of-" not in first.name:
        return [first]
    return sorted(first.parent.glob(first.name.replace("-00001-of-", "-?????-of-")))


def _remove(path: Path, root: Path) -> int:
    """Delete what is below ``root``; a link is removed itself, never what it points to."""
    if path.is_symlink():
        path.unlink()
        return 0
    resolved = path.resolve()
    if not resolved.is_relative_to(root.resolve()) or resolved == root.resolve():
        raise InvalidSetting("model", str(path), f"it is not in {root}: delete it yourself")
    freed = size_of(resolved)
    if resolved.is_dir():
        shutil.rmtree(resolved)
    else:
        resolved.unlink()
    return freed
