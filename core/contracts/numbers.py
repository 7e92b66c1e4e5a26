"""JSON has one kind of number (RFC 8259 section 6): 600000.0 is as whole as 600000, and some languages write only that.

What a decoder takes at once costs nothing here. What it refuses is read again with whole floats as integers, and then
refused for what is still wrong with it.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BeforeValidator

MOST = 2**53
"""Beyond it a double no longer knows every integer (RFC 7493 section 2.2)."""
_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is no number")  # noqa: TRY004 - pydantic turns only ValueErrors into its own
    return value


Whole = Annotated[int, BeforeValidator(_number)]
"""In a pydantic model: neither true nor "5" is a number, whatever Python says; 5.0 is a whole one."""


def decoded(data: bytes | str | msgspec.Raw, kind: type[_T]) -> _T:
    """As `msgspec.json.decode`, with its errors."""
    which: Any = kind
    decoder: msgspec.json.Decoder[_T] = _decoder_of(which)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        try:
            again = _encoder.encode(_whole(msgspec.json.decode(data)))
        except (msgspec.MsgspecError, OverflowError, UnicodeError, RecursionError):
            raise error from None
    return decoder.decode(again)


@cache
def _decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= MOST:
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    return value
