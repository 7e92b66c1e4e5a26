"""`homeside timers` against a real relay: a list, a watch, and a reason where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.contract.timers import P1, P2, client
from tests.peers import Child
from tests.programs import RelayProgram


def test_listing_and_watching(tmp_path: Path, homeside: Callable[..., Child]) -> None:
    relay = RelayProgram(tmp_path / "data")
    url = ("--url", f"http://127.0.0.1:{relay.care_port}", "--data", str(relay.data))
    with client(relay) as timers:
        session = timers.started()
        listed = homeside("timers", *url)
        listed.wait_for_line(rf"{session} +running +per_participant +\*{P1} \d+:\d\d  {P2} 10:00")
        watching = homeside("timers", session, *url)
        watching.wait_for_line(r"now  running  version 2")
        watching.wait_until(lambda: timers.relay.child.running and _told(timers, session, watching), "an update")
        timers.http.delete(f"/v1/sessions/{session}")
        watching.wait_for_line("SESSION_DELETED")
        unknown = homeside("timers", "nobody", *url)
        assert unknown.wait(20.0) == 2
        assert "no session" in unknown.tail()
    assert relay.stop() == 0
    gone = homeside("timers", *url)
    assert gone.wait(20.0) == 2
    assert "No relay answers" in gone.tail()


def _told(timers: object, session: str, watching: Child) -> bool:
    """Switches until the watcher, which may still be connecting, has heard of one."""
    timers.post(session, "switch")  # type: ignore[attr-defined]
    return any(line.startswith("SESSION_UPDATE  running") for line in watching.lines)
