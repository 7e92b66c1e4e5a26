"""Converts an OpenAPI 3.1 document to 3.0, for the API whose document promises that version. Pure.

The difference is in the schemas (JSON Schema 2020-12 in 3.1, an older dialect in 3.0): null types, constants, examples,
exclusive bounds. See OpenAPI 3.0.3, section "Schema Object".
"""

from __future__ import annotations

from typing import Any

VERSION = "3.0.3"
_UNKNOWN = (
    "$schema",
    "$id",
    "contentMediaType",
    "contentEncoding",
    "prefixItems",
    "unevaluatedProperties",
    "propertyNames",
)


def as_3_0(document: dict[str, Any]) -> dict[str, Any]:
    """The document in version 3.0.3; the argument is not changed."""
    found = _rewritten(document)
    assert isinstance(found, dict)
    found["openapi"] = VERSION
    found.get("info", {}).pop("summary", None)
    found.pop("webhooks", None)
    return found


def _rewritten(node: Any) -> Any:
    if isinstance(node, list):
        return [_rewritten(one) for one in node]
    if not isinstance(node, dict):
        return node
    return _schema({key: _rewritten(value) for key, value in node.items()})


def _schema(node: dict[str, Any]) -> dict[str, Any]:
    for key in _UNKNOWN:
        if key in node and not isinstance(node[key], dict):
            node.pop(key)
    _one_of_types(node)
    _nullable_choice(node)
    if "const" in node and not isinstance(node["const"], dict):
        node["enum"] = [node.pop("const")]
    if isinstance(node.get("examples"), list):
        examples = node.pop("examples")
        node.setdefault("example", examples[0])
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(node.get(bound), int | float) and not isinstance(node[bound], bool):
            node[limit], node[bound] = node[bound], True
    return node


def _one_of_types(node: dict[str, Any]) -> None:
    """`type: [string, null]` and `type: null` become `nullable`."""
    kinds = node.get("type")
    if isinstance(kinds, list):
        others = [kind for kind in kinds if kind != "null"]
        if "null" in kinds:
            node["nullable"] = True
        node.pop("type")
        if len(others) == 1:
            node["type"] = others[0]
        elif others:
            node["anyOf"] = [{"type": kind} for kind in others]
    elif kinds == "null":
        node.pop("type")
        node.update(nullable=True, enum=[None])


def _nullable_choice(node: dict[str, Any]) -> None:
    """`anyOf: [X, null]` becomes X, nullable."""
    for word in ("anyOf", "oneOf"):
        choices = node.get(word)
        if not isinstance(choices, list):
            continue
        others = [one for one in choices if one.get("enum") != [None]]
        if len(others) == len(choices):
            continue
        node["nullable"] = True
        if len(others) == 1 and "$ref" not in others[0]:
            node.pop(word)
            for key, value in others[0].items():
                node.setdefault(key, value)
        else:
            node[word] = others
