"""A file is there whole or not at all, whatever happens to the program that writes it."""

from __future__ import annotations

import io
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from relay.files import copy_new
from tests.peers import REPO_ROOT

KILLED = """
import io, os, signal, sys
from pathlib import Path
from relay.files import copy_new

class Source(io.BytesIO):
    def read(self, size=-1):
        if self.tell():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(100)

copy_new(Path(sys.argv[1]), Source(bytes(1000)), 0o600)
"""


def test_who_is_killed_while_copying_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "pat.zip"
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=REPO_ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    copy_new(path, io.BytesIO(b"whole"), 0o600)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"whole", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "pat.zip"
    path.write_bytes(b"first")
    with pytest.raises(FileExistsError):
        copy_new(path, io.BytesIO(b"second"), 0o600)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
