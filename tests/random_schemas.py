"""Random JSON Schemas of the keywords that can be enforced."""

from __future__ import annotations

import random
from typing import Any


def random_schema(chance: random.Random, depth: int = 3) -> dict[str, Any]:
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "format"]
    if depth:
        kinds += [
            "object",
            "object",
            "array",
            "anyOf",
            "tuple",
            "allOf",
            "map",
            "ref",
            "oneOf",
            "patterns",
            "typed enum",
        ]
    kind = chance.choice(kinds)
    return _MAKERS[kind](chance, depth)


def _string(chance: random.Random, _: int) -> dict[str, Any]:
    if chance.random() < 0.4:
        return {
            "type": "string",
            "pattern": chance.choice(["^[a-z]+$", "^\\d{2,3}-x$", "fox", "^a", "b$", "^é?[ab]*$"]),
        }
    low = chance.randint(0, 3)
    return {"type": "string"} | (
        {"minLength": low, "maxLength": low + chance.randint(0, 9)} if chance.random() < 0.7 else {}
    )


def _integer(chance: random.Random, _: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "integer"}
    low = chance.randint(-500, 500)
    if chance.random() < 0.5:
        found |= {chance.choice(["minimum", "exclusiveMinimum"]): low}
    if chance.random() < 0.5:
        found |= {chance.choice(["maximum", "exclusiveMaximum"]): low + chance.randint(3, 2000)}
    if chance.random() < 0.3:
        found |= {"multipleOf": chance.choice([2, 3, 7])}
    return found


def _number(chance: random.Random, _: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "number"}
    low = chance.randint(-50, 50) / chance.choice([1, 4, 10])
    if chance.random() < 0.5:
        found |= {chance.choice(["minimum", "exclusiveMinimum"]): low}
    if chance.random() < 0.5:
        found |= {chance.choice(["maximum", "exclusiveMaximum"]): low + chance.randint(1, 200)}
    return found


def _object(chance: random.Random, depth: int) -> dict[str, Any]:
    names = chance.sample(["a", "b", "name", 'q"uote', "größe", "a b", "\\", "$x"], chance.randint(0, 4))
    required = [name for name in names if chance.random() < 0.6]
    found: dict[str, Any] = {
        "type": "object",
        "properties": {name: random_schema(chance, depth - 1) for name in names},
        "required": required,
    }
    other = chance.choice([False, True, None, "schema"])
    if other == "schema":
        found["additionalProperties"] = random_schema(chance, depth - 1)
    elif other is not None:
        found["additionalProperties"] = other
    return found


def _array(chance: random.Random, depth: int) -> dict[str, Any]:
    low = chance.randint(0, 2)
    return {"type": "array", "items": random_schema(chance, depth - 1), "minItems": low,
            "maxItems": low + chance.randint(0, 3)}  # fmt: skip


def _tuple(chance: random.Random, depth: int) -> dict[str, Any]:
    items = [random_schema(chance, depth - 1) for _ in range(chance.randint(1, 3))]
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}


def _map(chance: random.Random, depth: int) -> dict[str, Any]:
    found = {"type": "object", "additionalProperties": random_schema(chance, depth - 1)}
    return found | chance.choice([{}, {"minProperties": 1}, {"maxProperties": 2}])


def _all_of(chance: random.Random, depth: int) -> dict[str, Any]:
    return {"allOf": [_integer(chance, depth), {"type": "number", "minimum": -100, "maximum": 3000}]}


def _ref(chance: random.Random, depth: int) -> dict[str, Any]:
    link = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}
    node = {"type": "object", "properties": {"next": link, "value": random_schema(chance, 0)}, "required": ["next"]}
    return (
        {"type": "object", "properties": {"head": link}, "$defs": {"node": node}}
        if depth == 3
        else _object(chance, depth)
    )


def _one_of(chance: random.Random, depth: int) -> dict[str, Any]:
    """Branches told apart by a constant, as tagged unions are."""
    branches = []
    for tag in chance.sample(["cat", "dog", "fox"], chance.randint(1, 3)):
        branch = _object(chance, depth)
        branch["properties"]["tag"] = {"const": tag}
        branch["required"].append("tag")
        branches.append(branch)
    return {"oneOf": branches}


def _patterns(chance: random.Random, depth: int) -> dict[str, Any]:
    found = {"type": "object", "patternProperties": {"^x_": random_schema(chance, depth - 1)}}
    found["additionalProperties"] = chance.choice([False, True])
    return found | ({"properties": {"y": {"type": "integer"}}, "required": ["y"]} if chance.random() < 0.5 else {})


_MAKERS: dict[str, Any] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda chance, depth: {"type": "boolean"},
    "null": lambda chance, depth: {"type": ["null", "boolean"]},
    "enum": lambda chance, depth: {"enum": chance.sample(["x", "yes", 1, 2.5, None, True, 'q"', {"a": [1]}], 3)},
    "const": lambda chance, depth: {"const": chance.choice(["x", 7, None, {"a": {"b": "c"}}, [1, "two"]])},
    "format": lambda chance, depth: {
        "type": "string",
        "format": chance.choice(["date", "time", "uuid", "ipv4", "email"]),
    },
    "object": _object,
    "array": _array,
    "tuple": _tuple,
    "map": _map,
    "anyOf": lambda chance, depth: {"anyOf": [random_schema(chance, depth - 1) for _ in range(chance.randint(1, 3))]},
    "allOf": _all_of,
    "ref": _ref,
    "oneOf": _one_of,
    "patterns": _patterns,
    "typed enum": lambda chance, depth: {"type": "string", "enum": chance.sample(["x", "yes", "", "é\n", 'q"'], 3)},
}
