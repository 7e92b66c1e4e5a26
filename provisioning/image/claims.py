"""Claims obtained from a relay, kept until every card is written: a code is shown only once, and must
survive a crash.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from provisioning.durable import write_whole
from provisioning.errors import ImageUnusable, SettingsError, Unreachable

AT_ONCE = 500
WITHIN_S = 60.0
Post = Callable[[str, Any], Any]


class ClaimBook:
    """claims.json in the folder of a run, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._codes = self._read()

    def code(self, kit: str) -> str:
        return self._codes[kit]

    def make(self, kits: Iterable[str], post: Post, hours: float, done: Callable[[int], None]) -> None:
        """Request a claim for each kit that has none here yet; each batch is on disk before the next is requested."""
        missing = [kit for kit in kits if kit not in self._codes]
        for at in range(0, len(missing), AT_ONCE):
            batch = missing[at : at + AT_ONCE]
            made = post("/identity/v1/claims", {"kits": batch, "hours": hours})["claims"]
            self._codes |= {one["kit"]: one["code"] for one in made}
            write_whole(self._path, json.dumps(self._codes, indent=1).encode(), 0o600)
            done(at + len(batch))

    def _read(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ImageUnusable(f"{self._path} cannot be read: {error}") from None
        return found


class RelayCaller:
    """Calls a relay's HTTP APIs with an admin's token. Raises SettingsError for an invalid address."""

    def __init__(self, url: str, token: str, ca: Path | None) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise SettingsError(f"{url} is no relay's address; expected https://host:port")
        self._url, self._token = url.rstrip("/"), token
        self._context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)

    def post(self, path: str, body: Any) -> Any:
        return self._ask(path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        return self._ask(path, None)

    def _ask(self, path: str, body: bytes | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, body, headers)  # noqa: S310  checked above
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S, context=self._context) as answer:  # noqa: S310  as above
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Unreachable(f"{self._url} refuses ({error.code}): {_words(error)}") from None
        except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError) as error:
            raise Unreachable(f"{self._url} does not answer: {getattr(error, 'reason', error)}") from None


def _words(error: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(error.read())
    except ValueError:
        return str(error.reason)
    return str(said.get("detail") or said.get("error", {}).get("message") or error.reason)
