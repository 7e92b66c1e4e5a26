"""Settings in layers (files, environment, options) and readable descriptions of what is wrong with them, for all
programs.

Pure: the contents of files, the environment and the settings class are arguments. An unknown key is an error that
suggests the nearest known one, whichever layer it came from.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from core.contracts.errors import InvalidMessage

Where = tuple[int | str, ...]


def table_of(content: bytes, name: str) -> dict[str, Any]:
    """Parse the TOML file called `name`. Raises InvalidMessage, which says where it is malformed."""
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"{name} is not TOML: {error}") from None


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both layers merged section by section; values of `over` win."""
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def problems(error: ValidationError, settings: type[BaseModel]) -> str:
    """A text that names every wrong key and its problem."""
    told = (_problem(settings, found["loc"], found["type"], found["msg"]) for found in error.errors())
    return f"{'; '.join(told)}. docs/settings.md lists every key."


def know_all(environment: Mapping[str, str], prefix: str, settings: type[BaseModel]) -> None:
    """Check the environment variables that start with `prefix`. Raises InvalidMessage for one that is no setting, which
    pydantic-settings would ignore, and for one that must be JSON and is not.
    """
    for variable, value in environment.items():
        if variable.startswith(prefix):
            where = tuple(variable.removeprefix(prefix).lower().split("__"))
            section = _section(settings, where[:-1])
            if section is None or where[-1] not in section.model_fields:
                raise InvalidMessage(f"environment: {variable}: {_problem(settings, where, 'extra_forbidden', '')}")
            if _in_json(section.model_fields[where[-1]].annotation) and not _is_json(value):
                raise InvalidMessage(f'environment: {variable}: not JSON; a list is ["a", "b"]')


def _problem(settings: type[BaseModel], where: Where, kind: str, text: str) -> str:
    name = ".".join(map(str, where))
    if kind != "extra_forbidden":
        return f"{name}: {text.removeprefix('Value error, ')}"
    near = difflib.get_close_matches(str(where[-1]), _keys(settings, where[:-1]), n=1)
    return f"{name}: no such setting" + (f" (did you mean {near[0]}?)" if near else "")


def _keys(settings: type[BaseModel], where: Where) -> list[str]:
    """The keys of the section at `where`; empty when there is no such section."""
    section = _section(settings, where)
    return list(section.model_fields) if section else []


def _section(section: type[BaseModel], where: Where) -> type[BaseModel] | None:
    for part in where:
        if isinstance(part, int):
            continue
        below = section.model_fields[part].annotation if part in section.model_fields else None
        below = next((kind for kind in get_args(below) if isinstance(kind, type)), below)
        if not (isinstance(below, type) and issubclass(below, BaseModel)):
            return None
        section = below
    return section


def _in_json(kind: Any) -> bool:
    """Whether the environment gives such a value as JSON: a list, a table or a section."""
    return get_origin(kind) in (dict, list, tuple) or (isinstance(kind, type) and issubclass(kind, BaseModel))


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True
