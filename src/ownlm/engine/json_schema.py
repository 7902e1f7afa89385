"""What is asked of a JSON Schema before it becomes a grammar: that every word in it is known, and that something,
of finite size, can meet it.

Which keywords can be enforced is llguidance's to say; it refuses those it knows and cannot. What it does not know it
would pass over, a misspelt ``minLenght`` too: such words are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from ownlm.errors import InvalidGrammar

MAX_REFERENCES = 2000
MAX_MULTIPLE = 100_000  # a number's automaton has a state for each remainder: at 1,000,000 it takes 20 seconds
_SCHEMA = {"additionalProperties", "items", "additionalItems", "not", "if", "then", "else", "contains",
           "propertyNames", "unevaluatedItems", "unevaluatedProperties"}  # fmt: skip
_LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
_TABLES = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_VALUES = {
    "type", "enum", "const", "$ref", "required", "minProperties", "maxProperties", "dependentRequired", "minItems",
    "maxItems", "uniqueItems", "minContains", "maxContains", "minLength", "maxLength", "pattern", "format",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "contentEncoding",
    "contentMediaType", "contentSchema", "dependencies", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef",
}  # fmt: skip
# Notes for people and other tools, which restrict nothing.
_NOTES = {
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment",
    "$schema", "$id", "$vocabulary", "discriminator", "externalDocs", "strict", "propertyOrdering", "enumNames",
    "enumDescriptions", "markdownDescription",
}  # fmt: skip
_KNOWN = _SCHEMA | _LISTS | _TABLES | _VALUES | _NOTES

Schema = Mapping[str, Any] | bool


def checked(schema: Schema) -> dict[str, Any]:
    """The schema as an object. Raises InvalidGrammar."""
    if schema is False:
        raise InvalidGrammar("json_schema", schema, "nothing meets it")
    if schema is True:
        return {}
    if not isinstance(schema, Mapping):
        raise InvalidGrammar("json_schema", schema, "give an object in JSON Schema's form")
    try:
        nodes = dict(_walk(schema, "#"))
    except RecursionError:
        raise InvalidGrammar("json_schema", schema, "it is nested too deeply") from None
    _check_words(nodes)
    _check_multiples(nodes)
    _check_finite(schema, nodes)
    return dict(schema)


def _walk(schema: Schema, at: str) -> Iterator[tuple[str, Schema]]:
    """(JSON pointer, schema) of a schema and all schemas inside it."""
    yield at, schema
    if not isinstance(schema, Mapping):
        return
    for word, value in schema.items():
        here = f"{at}/{_escaped(word)}" if isinstance(word, str) else at
        if word in _SCHEMA and isinstance(value, Mapping | bool):
            yield from _walk(value, here)
        elif (word in _LISTS or word == "items") and isinstance(value, list):
            for rank, item in enumerate(value):
                yield from _walk(item, f"{here}/{rank}")
        elif word in _TABLES and isinstance(value, Mapping):
            for name, item in value.items():
                yield from _walk(item, f"{here}/{_escaped(str(name))}")


def _check_words(nodes: Mapping[str, Schema]) -> None:
    references = 0
    for at, schema in nodes.items():
        if isinstance(schema, bool):
            continue
        if not isinstance(schema, Mapping):
            raise InvalidGrammar("json_schema", schema, f"{at} is no schema: give an object, true or false")
        references += "$ref" in schema
        for word in schema:
            if not isinstance(word, str) or (word not in _KNOWN and not word.startswith("x-")):
                raise InvalidGrammar("json_schema", word, f"{at} holds this keyword, which is not known: take it out")
            if word == "x-guidance":
                raise InvalidGrammar("json_schema", word, f"{at} holds settings of the parser: take them out")
    if references > MAX_REFERENCES:
        raise InvalidGrammar("json_schema", references, f"it has more than {MAX_REFERENCES} references")


def _check_multiples(nodes: Mapping[str, Schema]) -> None:
    """Raise InvalidGrammar where a number must be a multiple of too much, by one schema or by several at once."""
    if not any(isinstance(schema, Mapping) and "multipleOf" in schema for schema in nodes.values()):
        return
    for schema in nodes.values():
        found = _multiples(schema, nodes)
        if not found:
            continue
        least = min(exponent for _, exponent in found)
        together = math.lcm(*(digits * 10 ** (exponent - least) for digits, exponent in found))
        while together % 10 == 0:
            together //= 10
        if together > MAX_MULTIPLE:
            raise InvalidGrammar(
                "json_schema", "multipleOf", f"multiples of more than {MAX_MULTIPLE:,} are not supported"
            )


def _multiples(schema: Schema, nodes: Mapping[str, Schema]) -> set[tuple[int, int]]:
    """What a value must be a multiple of, by a schema and those that it is met together with: (digits, exponent)."""
    found: set[tuple[int, int]] = set()
    seen: set[int] = set()
    left: list[Any] = [schema]
    while left:
        part = left.pop()
        if not isinstance(part, Mapping) or id(part) in seen:
            continue
        seen.add(id(part))
        value = part.get("multipleOf")
        if type(value) is int and value > 0:
            found.add((value, 0))
        elif type(value) is float and math.isfinite(value) and value > 0:
            _, digits, exponent = Decimal(str(value)).as_tuple()
            found.add((int("".join(map(str, digits))), int(exponent)))
        left += [other for word in ("allOf", "anyOf", "oneOf") for other in _list(part, word)]
        target = part.get("$ref")
        left += [nodes[target]] if isinstance(target, str) and target in nodes else []
    return found


def _check_finite(root: Mapping[str, Any], nodes: Mapping[str, Schema]) -> None:
    """Raise InvalidGrammar if every value that meets the schema holds another one without end.

    The least fixed point: a schema is finite if those that it cannot do without are.
    """
    names = {id(schema): at for at, schema in nodes.items()}
    finite: set[str] = set()

    def good(schema: Any) -> bool:
        return not isinstance(schema, Mapping) or names.get(id(schema), "") in finite

    while True:
        new = {
            at for at, schema in nodes.items()
            if at not in finite and (not isinstance(schema, Mapping) or _is_finite(schema, nodes, finite, good))
        }  # fmt: skip
        if not new:
            break
        finite |= new
    if "#" not in finite:
        loop = next((str(s["$ref"]) for s in nodes.values() if isinstance(s, Mapping) and "$ref" in s), "#")
        raise InvalidGrammar(
            "json_schema", loop, "this reference leads to itself, so that nothing of finite size meets the schema"
        )


def _is_finite(schema: Mapping[str, Any], nodes: Mapping[str, Schema], finite: set[str], good: Any) -> bool:
    target = schema.get("$ref")
    if isinstance(target, str) and target in nodes and target not in finite:
        return False
    if not all(good(part) for part in _list(schema, "allOf")):
        return False
    for word in ("anyOf", "oneOf"):
        parts = _list(schema, word)
        if parts and not any(good(part) for part in parts):
            return False
    if "enum" in schema or "const" in schema:
        return True
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list):  # any type will do: of these words only a reference's own can bind
        return True
    return any(_kind_is_finite(kind, schema, good) for kind in kinds)


def _kind_is_finite(kind: Any, schema: Mapping[str, Any], good: Any) -> bool:
    if kind == "object":
        needed, table = schema.get("required"), schema.get("properties")
        if isinstance(needed, list) and isinstance(table, Mapping):
            return all(good(table[name]) for name in needed if isinstance(name, str) and name in table)
    if kind == "array":
        least = schema.get("minItems")
        least = least if isinstance(least, int) else 0
        first = _list(schema, "prefixItems") or _list(schema, "items")
        return all(good(part) for part in first[:least]) and (least <= len(first) or good(schema.get("items")))
    return True


def _list(schema: Mapping[str, Any], word: str) -> list[Any]:
    found = schema.get(word)
    return found if isinstance(found, list) else []


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
