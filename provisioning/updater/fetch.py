"""Fetches a bundle from the first source that has it, resuming where an earlier attempt stopped.

Sources: a folder (a stick, a shared disk), a mirror in the house, then the relay. Only the hash decides whether the
bundle is complete; its signature is checked elsewhere.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from core.contracts.release import MAX_BYTES
from provisioning.durable import sync
from provisioning.errors import Unreachable, UpdateRefused

CHUNK = 1 << 18
SILENT_S = 30.0


def fetch(
    sources: Iterable[str], target: Path, sha256: str, ca: Path | None, progress: Callable[[int], None] = lambda _: None
) -> None:
    """`target` holds the bundle with this hash, on disk, when this returns. Unreachable when no source has it.

    A part fetched before is kept and continued; one that turns out wrong is fetched anew, once.
    """
    if target.exists() and _hash(target) == sha256:
        return
    part = target.with_suffix(".part")
    problems: list[str] = []
    for source in sources:
        for _ in range(2):
            try:
                _bring(source, part, ca, progress)
            except Unreachable as error:
                problems.append(str(error))
                break
            if _hash(part) == sha256:
                part.replace(target)
                sync(target.parent)
                return
            part.unlink(missing_ok=True)
        else:
            problems.append(f"{_plain(source)} gives another file than the relay announced")
    raise Unreachable("; ".join(problems) or "the relay named no place to fetch the release from")


def _bring(source: str, part: Path, ca: Path | None, progress: Callable[[int], None]) -> None:
    if urlsplit(source).scheme in ("http", "https"):
        _download(source, part, ca, progress)
        return
    try:
        with Path(source).open("rb") as stream, part.open("wb") as file:
            shutil.copyfileobj(stream, file, CHUNK)
            file.flush()
            os.fsync(file.fileno())
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise Unreachable(f"{source}: {error.strerror}") from None


def _download(source: str, part: Path, ca: Path | None, progress: Callable[[int], None]) -> None:
    begin = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(source)  # noqa: S310  http or https, looked at above
    if begin:
        request.add_header("Range", f"bytes={begin}-")
    context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    try:
        with urllib.request.urlopen(request, timeout=SILENT_S, context=context) as answer:  # noqa: S310  as above
            begin = begin if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            if not _take(answer, part, begin, progress):
                raise Unreachable(f"{_plain(source)} broke off; what came is kept")
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # there is no more of it: its hash tells whether it is whole
        raise Unreachable(f"{_plain(source)} answers {error.code}") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise Unreachable(f"{_plain(source)}: {getattr(error, 'reason', error)}") from None


def _take(answer: http.client.HTTPResponse, part: Path, begin: int, progress: Callable[[int], None]) -> bool:
    """Whether everything announced arrived: a connection that ends early looks like one that is complete."""
    announced = answer.headers.get("Content-Length", "")
    with part.open("r+b" if begin else "wb") as file:
        file.seek(begin)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            if file.tell() > MAX_BYTES:
                raise UpdateRefused(f"the bundle is longer than {MAX_BYTES >> 30} GiB")
            progress(file.tell())
        file.flush()
        os.fsync(file.fileno())
        return not announced.isdigit() or file.tell() == begin + int(announced)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _plain(source: str) -> str:
    """The source without a signed link's token, since this text appears in logs and in the fleet view."""
    return source.split("?", 1)[0]
