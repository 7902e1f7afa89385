"""Prompts on disk: those that measured best with a model (JSON, ours), and variants that a user wrote (TOML)."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidSetting, NotFound
from ownlm.files import atomic_write
from ownlm.prompts.examples import Examples, NearestPrompt
from ownlm.prompts.template import Prompt, Shot, named_by_words

FORMAT = "ownlm-prompts-1"


@dataclass(frozen=True, slots=True)
class Kept:
    """The best prompt for a model, by name for people, and what was measured, as JSON."""

    prompt: Prompt[Any]
    model: str
    measured: Mapping[str, Any]


def read_kept(path: Path, like: Prompt[Any]) -> dict[str, Kept]:
    """By fingerprint of the weights. ``like`` is a prompt of the template. Raises InvalidSetting for a damaged file."""
    try:
        found = read_object(path)
        if found.get("format") != FORMAT or found.get("template") != like.template:
            raise ValueError(f"it is no {FORMAT} of {like.template}")
        return {
            fingerprint: Kept(_prompt(entry["prompt"], like), str(entry["model"]), dict(entry["measured"]))
            for fingerprint, entry in found["kept"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidSetting("prompts", str(path), f"{_said(error)}: delete the file, or measure again") from None


def keep(path: Path, fingerprint: str, best: Kept) -> None:
    """Enter the best prompt for a model; those of other models stay."""
    entries = read_kept(path, best.prompt) if path.is_file() else {}
    entries[fingerprint] = best
    found = {
        "format": FORMAT,
        "template": best.prompt.template,
        "kept": {
            key: {"model": entry.model, "prompt": _as_json(entry.prompt), "measured": dict(entry.measured)}
            for key, entry in entries.items()
        },
    }
    with atomic_write(path) as file:
        file.write(json.dumps(found, ensure_ascii=False, indent=2).encode("utf-8"))


def read_variant(path: Path, like: Prompt[Any]) -> Prompt[Any]:
    """A variant from a TOML file with ``user``, and, if wanted, ``system`` and ``[[shots]]`` with an ``answer`` each
    beside the template's inputs. Raises NotFound or InvalidSetting; a key that means nothing is refused.
    """
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
        return _prompt(found, like)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path} with a variant of the prompt for {like.template}") from None
    except OSError as error:
        raise InvalidSetting("variant", str(path), f"it cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        remedy = f'{_said(error)}; write TOML such as: user = "{like.user}"'.replace("\n", "\\n")
        raise InvalidSetting("variant", str(path), remedy) from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ValueError."""
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004  # a fault of the file, as others
    return found


def _as_json(prompt: Prompt[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": prompt.version,
        "user": prompt.user,
        "system": prompt.system,
        "shots": _shots(prompt.shots),
    }
    if isinstance(prompt, NearestPrompt) and prompt.examples is not None:
        found |= {"nearest": prompt.count, "examples": _shots(prompt.examples.shots)}
    return found


def _shots(shots: Sequence[Shot[Any]]) -> list[dict[str, Any]]:
    return [{**dataclasses.asdict(shot.inputs), "answer": shot.answer} for shot in shots]


def _prompt(found: Mapping[str, Any], like: Prompt[Any]) -> Prompt[Any]:
    """Raises ValueError, KeyError or TypeError for what is no prompt of this template, InvalidSetting by the prompt."""
    if unknown := found.keys() - {"user", "system", "shots", "version", "nearest", "examples"}:
        raise ValueError(f"a prompt has no {', '.join(sorted(unknown))}")
    user, system = found["user"], found.get("system", "")
    if not isinstance(user, str) or not isinstance(system, str):
        raise TypeError("user and system are texts")
    shots = tuple(_shot(shot, like) for shot in found.get("shots", ()))
    version = str(found.get("version") or named_by_words(like.template, user, system, shots))
    if not {"nearest", "examples"} & found.keys():
        return Prompt(like.template, version, like.inputs, user, system, shots)
    examples = Examples([_shot(shot, like) for shot in found["examples"]])
    count = found["nearest"]
    if type(count) is not int or not 1 <= count <= len(examples.shots):
        raise ValueError(f"nearest is {count!r}, of {len(examples.shots)} examples")
    return NearestPrompt(like.template, version, like.inputs, user, system, shots, examples, count)


def _shot(found: Mapping[str, Any], like: Prompt[Any]) -> Shot[Any]:
    given = dict(found)
    answer = given.pop("answer")
    read = getattr(like.inputs, "read", None)
    inputs = like.inputs(**given) if read is None else read(given)
    texts = [answer, *(value for name, value in given.items() if _is_text(like.inputs, name))]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a shot's fields are texts")
    return Shot(inputs, answer)


def _is_text(inputs: type[Any], name: str) -> bool:
    return any(field.name == name and field.type in (str, "str") for field in dataclasses.fields(inputs))


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
