"""`homeside users` and `homeside assign`, as an operator types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.peers import REPO_ROOT


def homeside(*words: str | Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "homeside", *map(str, words)]
    return subprocess.run(command, cwd=REPO_ROOT, input=typed, capture_output=True, text=True, check=False)


def test_accounts_are_made_listed_assigned_and_disabled(tmp_path: Path) -> None:
    add = ("users", "add", "--data", tmp_path, "--json")
    patient = homeside(*add, "pat@example.org", "--role", "patient", "--consent", typed="ten letters\n")
    assert patient.returncode == 0, patient.stderr
    assert json.loads(patient.stdout)[0]["patient_id"]
    anna = homeside(*add, "anna@example.org", "--role", "physiotherapist", typed="ten letters\n")
    assert json.loads(anna.stdout)[0]["physiotherapist_id"]
    assigned = homeside("assign", "pat@example.org", "anna@example.org", "--data", tmp_path)
    assert assigned.returncode == 0, assigned.stderr
    assert homeside("assign", "anna@example.org", "pat@example.org", "--data", tmp_path).returncode == 2
    assert homeside("users", "disable", "pat@example.org", "--data", tmp_path).returncode == 0
    assert homeside("users", "passwd", "anna@example.org", "--data", tmp_path, typed="another ten\n").returncode == 0
    listed = json.loads(homeside("users", "list", "--json", "--data", tmp_path).stdout)
    assert [(account["email"], account["disabled"]) for account in listed] == [
        ("anna@example.org", False),
        ("pat@example.org", True),
    ]


def test_what_is_wrong_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    add = ("users", "add", "--data", tmp_path)
    short = homeside(*add, "a@example.org", "--role", "admin", typed="short\n")
    assert (short.returncode, "10 to" in short.stderr) == (2, True)
    none = homeside(*add, "a@example.org", "--role", "admin")
    assert (none.returncode, "no password" in none.stderr) == (2, True)
    assert homeside(*add, "a@example.org", "--role", "kit", typed="ten letters\n").returncode == 2
    assert json.loads(homeside("users", "list", "--json", "--data", tmp_path).stdout) == []
