"""From one release to the next: kept when it works, undone when it does not, whole wherever the power goes."""

from __future__ import annotations

import errno
import http.server
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.contracts.fleet import UpdateState
from provisioning.errors import Unreachable
from provisioning.updater.fetch import fetch
from provisioning.updater.updater import Note
from tests.provisioning.releases import altered, release
from tests.provisioning.updating import FIRST, Machine

GOOD, BAD = "1.1.0", "1.2.0"
BROKEN = {"homeside.py": b"raise SystemExit('this release does not start')\n"}
GOOD_STEPS = (
    *("fetched", "to unpack", "unpacking", "unpacked", "to turn", "turned", "to try"),
    *("restarted", "tried", "trusted", "told", "finished"),
)
BAD_STEPS = (*GOOD_STEPS[:-3], "to undo", "turned back", "restarted the old", "told", "finished")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machine")
    machine = Machine(folder)
    machine.prepare()
    release(machine.releases, GOOD)
    release(machine.releases, BAD, changes=BROKEN)
    return folder


@pytest.fixture
def machine(prepared: Path, tmp_path: Path) -> Machine:
    """It runs FIRST; GOOD and BAD may be had."""
    found = Machine(tmp_path / "machine")
    shutil.copytree(prepared, found.folder, symlinks=True)
    return found


def test_a_good_release_is_kept(machine: Machine) -> None:
    steps: list[str] = []
    outcome = machine.updater(steps=steps).run(machine.note(GOOD))
    assert outcome is not None
    assert (outcome.version, outcome.state) == (GOOD, UpdateState.DONE)
    assert tuple(steps) == GOOD_STEPS
    assert machine.runs() == GOOD
    assert (machine.root / "trusted").resolve() == (machine.root / "current").resolve()
    assert machine.updater().run(machine.note(GOOD)) is None


def test_a_bad_release_is_undone_and_not_tried_again(machine: Machine) -> None:
    steps: list[str] = []
    outcome = machine.updater(steps=steps).run(machine.note(BAD))
    assert outcome is not None
    assert (outcome.version, outcome.state) == (BAD, UpdateState.ROLLED_BACK)
    assert "did not come up" in outcome.problem
    assert tuple(steps) == BAD_STEPS
    assert machine.runs() == FIRST
    assert machine.updater().run(machine.note(BAD)) is None
    assert machine.updater().run(machine.note(GOOD)) is not None
    assert machine.runs() == GOOD


@pytest.mark.parametrize("step", GOOD_STEPS)
def test_a_power_cut_at_any_step_of_a_good_release(machine: Machine, step: str) -> None:
    machine.killed_at(GOOD, step)
    assert machine.runs() in (FIRST, GOOD)
    machine.updater().run(machine.note(GOOD))
    assert machine.runs() == GOOD
    assert machine.updater().run(None) is None


@pytest.mark.parametrize("step", BAD_STEPS[BAD_STEPS.index("to turn") :])
def test_a_power_cut_at_any_step_of_a_bad_release(machine: Machine, step: str) -> None:
    machine.killed_at(BAD, step)
    machine.updater().run(machine.note(BAD))
    assert machine.runs() == FIRST
    assert machine.updater().run(None) is None


def test_a_release_that_brings_the_machine_down_is_tried_twice_at_most(machine: Machine) -> None:
    machine.killed_at(GOOD, "restarted")
    machine.killed_at(GOOD, "restarted")
    outcome = machine.updater().run(machine.note(GOOD))
    assert outcome is not None
    assert (outcome.state, outcome.problem) == (UpdateState.ROLLED_BACK, "the machine went down while it was tried")
    assert machine.runs() == FIRST


def flip(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def offered(machine: Machine, how: str) -> Note:
    """A bundle that may not be taken, announced with its own true hash."""
    whole = machine.releases / f"homeside-{GOOD}.tar"
    makers: dict[str, Callable[[], Path]] = {
        "corrupt": lambda: altered(whole, machine.folder / f"homeside-{GOOD}.tar", flip),
        "truncated": lambda: altered(whole, machine.folder / f"homeside-{GOOD}.tar", lambda data: data[:90_000]),
        "downgraded": lambda: release(machine.folder / "d", "0.9.0"),
        "for another machine": lambda: release(machine.folder / "m", GOOD, python="cp311", machine="riscv64"),
    }
    path = makers[how]()
    version = "0.9.0" if how == "downgraded" else GOOD
    machine.releases = path.parent
    return machine.note(version)


@pytest.mark.parametrize("how", ["corrupt", "truncated", "for another machine"])
def test_what_may_not_be_taken_changes_nothing(machine: Machine, how: str) -> None:
    outcome = machine.updater().run(offered(machine, how))
    assert outcome is not None
    assert outcome.state is UpdateState.REFUSED
    assert machine.runs() == FIRST
    assert not (machine.root / "slots" / "b").exists()


def test_an_unsigned_release_is_refused(machine: Machine) -> None:
    release(machine.folder / "u", GOOD, key=Ed25519PrivateKey.generate())
    machine.releases = machine.folder / "u"
    outcome = machine.updater().run(machine.note(GOOD))
    assert outcome is not None
    assert "not signed by a key that is trusted" in outcome.problem


def test_an_older_release_is_not_even_fetched_and_cannot_pass_for_a_newer_one(machine: Machine) -> None:
    note = offered(machine, "downgraded")
    assert machine.updater().run(note) is None
    outcome = machine.updater().run(Note("1.3.0", note.sha256, note.url))
    assert outcome is not None
    assert "no step from 1.0.0 to 1.3.0" in outcome.problem
    assert machine.runs() == FIRST


def test_a_full_disk_leaves_what_runs(machine: Machine) -> None:
    """The kernel refuses every file beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        outcome = machine.updater().run(machine.note(GOOD))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert outcome is not None
    assert outcome.state is UpdateState.REFUSED
    assert "disk" in outcome.problem
    assert machine.runs() == FIRST
    assert sorted(path.name for path in machine.state.iterdir()) == ["outcome.json"]


def test_too_little_room_is_said_before_anything_is_written(machine: Machine) -> None:
    updater = machine.updater()
    updater._room = lambda: 1000
    outcome = updater.run(machine.note(GOOD))
    assert outcome is not None
    assert "the disk is full" in outcome.problem


class Broken(http.server.SimpleHTTPRequestHandler):
    """Breaks off after some bytes each time, and goes on by Range; without `ranges` it begins anew each time."""

    after = 60_000
    ranges = True
    asked: list[str | None]

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if begin >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : begin + self.after])

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def mirror(machine: Machine) -> Iterator[tuple[str, type[Broken]]]:
    handler = type("Handler", (Broken,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(machine.releases)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_a_download_goes_on_where_it_broke_off(machine: Machine, mirror: tuple[str, type[Broken]]) -> None:
    url, handler = mirror
    note = machine.note(GOOD)
    source, target = f"{url}/homeside-{GOOD}.tar", machine.state / "bundle.tar"
    for _ in range(100):
        try:
            fetch([source], target, note.sha256, None)
        except Unreachable:
            continue
        break
    assert target.read_bytes() == Path(note.url).read_bytes()
    begins = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in handler.asked if asked]
    assert len(begins) > 3
    assert begins == sorted(begins)


def test_a_mirror_comes_before_the_relay_and_may_be_absent(machine: Machine) -> None:
    note = machine.note(GOOD)
    fetch([str(machine.folder / "nothing"), note.url], machine.state / "bundle.tar", note.sha256, None)
    assert (machine.state / "bundle.tar").read_bytes() == Path(note.url).read_bytes()


def test_another_file_under_that_name_is_not_taken(machine: Machine, mirror: tuple[str, type[Broken]]) -> None:
    url, handler = mirror
    handler.after = 1 << 30
    with pytest.raises(Unreachable, match="gives another file"):
        fetch([f"{url}/homeside-{BAD}.tar"], machine.state / "bundle.tar", machine.note(GOOD).sha256, None)
    assert list(machine.state.iterdir()) == []


def test_errors_of_a_disk_are_told_in_its_words(machine: Machine) -> None:
    updater = machine.updater()

    def full(_note: object, _target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    updater._fetch = full
    outcome = updater.run(machine.note(GOOD))
    assert outcome is not None
    assert outcome.problem == "the disk does not take it: No space left on device"


@pytest.mark.parametrize("step", ["turned", "tried", "turned back"])
def test_a_disk_that_refuses_in_a_trial_leaves_no_bad_release(machine: Machine, step: str) -> None:
    updater = machine.updater()

    def full(reached: str) -> None:
        if reached == step:
            raise OSError(errno.ENOSPC, "No space left on device")

    updater._reached = full
    with pytest.raises(OSError, match="No space"):
        updater.run(machine.note(BAD))
    outcome = machine.updater().run(machine.note(BAD))
    assert outcome is not None
    assert (outcome.state, machine.runs()) == (UpdateState.ROLLED_BACK, FIRST)
