"""Settings in layers: what wins, and how what is wrong is said, the same for every program."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.contracts.errors import InvalidMessage
from core.contracts.settings import know_all, merged, problems, table_of


class Tls(BaseModel):
    model_config = ConfigDict(extra="forbid")

    enabled: bool = False


class Kit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate_hz: int = Field(100, ge=1)
    tls: Tls | None = None
    names: list[str] = []


def test_the_upper_layer_wins_key_by_key() -> None:
    under = {"rate_hz": 100, "tls": {"enabled": True, "cert": "a"}}
    assert merged(under, {"tls": {"cert": "b"}}) == {"rate_hz": 100, "tls": {"enabled": True, "cert": "b"}}
    assert merged(under, {"tls": 1}) == {"rate_hz": 100, "tls": 1}
    assert under["tls"] == {"enabled": True, "cert": "a"}, "the layers themselves stay as they are"


@pytest.mark.parametrize("content", [b"rate = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(content: bytes) -> None:
    with pytest.raises(InvalidMessage, match=r"kit\.toml is not TOML"):
        table_of(content, "kit.toml")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": 5}, r"^rate: no such setting \(did you mean rate_hz\?\)"),
        ({"tls": {"enable": True}}, r"^tls\.enable: no such setting \(did you mean enabled\?\)"),
        ({"rate_hz": 0}, r"^rate_hz: .*greater than or equal to 1"),
        ({"zzz": 1, "rate_hz": "x"}, r"rate_hz: .*; zzz: no such setting\. docs/settings\.md"),
    ],
)
def test_each_wrong_key_is_named_with_the_nearest_right_one(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        Kit.model_validate(given)
    assert re.search(said, problems(error.value, Kit))


def test_a_misspelt_variable_is_not_passed_over() -> None:
    know_all({"PATH": "", "KIT_RATE_HZ": "5", "KIT_TLS__ENABLED": "true"}, "KIT_", Kit)
    with pytest.raises(InvalidMessage, match=r"KIT_TSL__ENABLED: tsl\.enabled: no such setting"):
        know_all({"KIT_TSL__ENABLED": "true"}, "KIT_", Kit)
    with pytest.raises(InvalidMessage, match=r"did you mean enabled"):
        know_all({"KIT_TLS__ENABLD": "true"}, "KIT_", Kit)


def test_a_variable_that_is_to_be_json_and_is_not_is_named() -> None:
    know_all({"KIT_NAMES": '["a.example.org"]'}, "KIT_", Kit)
    with pytest.raises(InvalidMessage, match="KIT_NAMES: not JSON"):
        know_all({"KIT_NAMES": "[a.example.org]"}, "KIT_", Kit)
