"""The bytes a request asks for (RFC 9110 section 14): one range, or all. Pure."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Unsatisfiable(Exception):
    """The range begins beyond the end of the video (status 416)."""


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of the single requested range, `stop` excluded; None for the whole video. Several ranges or a
    malformed header are answered with the whole, as the RFC allows. Raises Unsatisfiable.
    """
    found = _ONE.fullmatch(header.replace(" ", ""))
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise Unsatisfiable
    return start, stop
