"""JSON has one kind of number (RFC 8259 section 6): 600000.0 is as whole as 600000, and some languages write only that.

A message that decodes at the first attempt costs nothing extra. One that is refused is decoded again with whole floats
turned into integers, and refused only for what is still wrong.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BeforeValidator

MOST = 2**53
"""Above this a double cannot represent every integer (RFC 7493 section 2.2)."""
_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is no number")  # noqa: TRY004 - pydantic turns only ValueErrors into its own
    return value


Whole = Annotated[int, BeforeValidator(_number)]
"""An integer field of a pydantic model: refuses true and "5", which pydantic would convert; accepts 5.0."""


def decoded(data: bytes | str | msgspec.Raw, kind: type[_T]) -> _T:
    """Like `msgspec.json.decode`, with the same errors."""
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
