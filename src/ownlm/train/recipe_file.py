"""A recipe's file: Python with a function ``recipe`` that returns a ``Recipe``; and single settings changed by name."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidSetting, NotFound, OwnLMError
from ownlm.train.recipe import Recipe

_WORDS = {"true": True, "false": False, "none": None}


def load(path: Path, **given: Any) -> Recipe:
    """Run the file and call its ``recipe`` with those of ``given`` that are not None.

    Raises NotFound, and InvalidSetting for a file that fails, returns something else, or does not take what is given.
    """
    if not path.is_file():
        raise NotFound(f"{path} is not there: give a file with a function recipe() that returns a Recipe")
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InvalidSetting("recipe", str(path), "give a Python file, NAME.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        made = getattr(module, "recipe", None)
        if not callable(made):
            raise InvalidSetting("recipe", str(path), "the file has no function recipe()")
        wanted = {name: value for name, value in given.items() if value is not None}
        for name in wanted.keys() - inspect.signature(made).parameters.keys():
            raise InvalidSetting(f"--{name}", wanted[name], f"recipe() in {path} has no parameter {name}")
        found = made(**wanted)
    except OwnLMError:
        raise
    except Exception as error:
        line = next((f" on line {at}" for at in reversed(_lines(error, path))), "")
        raise InvalidSetting("recipe", str(path), f"it fails{line}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    if not isinstance(found, Recipe):
        raise InvalidSetting("recipe", str(path), f"its recipe() returned {type(found).__name__}, not a Recipe")
    return found


def with_settings(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Each change is ``name=value`` with a dotted name, such as ``schedule.steps=200``. Raises InvalidSetting."""
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise InvalidSetting("--set", change, "give NAME=VALUE, such as schedule.steps=200")
        recipe = _changed(recipe, name.split("."), value, name)
    return recipe


def _changed(settings: Any, path: list[str], value: str, whole: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(settings)} if dataclasses.is_dataclass(settings) else {}
    if path[0] not in fields:
        known = ", ".join(sorted(fields)) or "it has no settings of its own"
        raise InvalidSetting("--set", whole, f"no such setting; there are: {known}")
    now = getattr(settings, path[0])
    made = (
        _changed(now, path[1:], value, whole) if len(path) > 1 else _read(value, now, str(fields[path[0]].type), whole)
    )
    return dataclasses.replace(settings, **{path[0]: made})


def _read(value: str, now: object, kind: str, whole: str) -> object:
    """The text as a value of the setting's type."""
    if dataclasses.is_dataclass(now) or callable(now):
        raise InvalidSetting("--set", f"{whole}={value}", "this is set in the recipe's file only")
    if value.lower() in _WORDS and ("bool" in kind or value.lower() == "none"):
        if value.lower() == "none" and "None" not in kind:
            raise InvalidSetting("--set", f"{whole}={value}", f"it must be {kind}")
        return _WORDS[value.lower()]
    try:
        if "int" in kind:
            return int(value)
        if "float" in kind:
            return float(value)
    except ValueError:
        raise InvalidSetting("--set", f"{whole}={value}", f"it must be {kind}") from None
    if "bool" in kind:
        raise InvalidSetting("--set", f"{whole}={value}", "it must be true or false")
    return Path(value) if isinstance(now, Path) else value


def _lines(error: BaseException, path: Path) -> list[int]:
    found, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            found.append(trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        found.append(error.lineno)
    return found
