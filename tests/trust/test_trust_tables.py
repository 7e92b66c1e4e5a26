"""docs/security.md answers every requirement once, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ASVS_L1_L2 = 253
"""Requirements of ASVS 5.0.0 at levels 1 and 2: 70 and 183."""
ROW = re.compile(r"^\| (\d+\.\d+(?:\.\d+)?) \| ([^|]+) \| (met|n/a|open) \| ([^|]+) \|$", re.MULTILINE)
SECTIONS = ("What is protected", "Threats and defences", "Keys and algorithms", "Logs", "Brokers")


def test_every_answer_of_the_security_tables_stands(repo_root: Path) -> None:
    text = (repo_root / "docs" / "security.md").read_text("utf-8")
    rows = ROW.findall(text)
    asvs = [number for number, *_ in rows if number.count(".") == 2]
    etsi = [number for number, *_ in rows if number.count(".") == 1]
    assert len(asvs) == len(set(asvs)) == ASVS_L1_L2
    assert etsi == [f"5.{number}" for number in range(1, 14)]
    assert {number.split(".")[0] for number in asvs} == {str(number) for number in range(1, 18)}
    assert len([line for line in text.splitlines() if re.match(r"\| \d+\.\d", line)]) == len(rows), "a row is malformed"
    for number, _, answer, by in rows:
        assert (re.fullmatch(r"`test_\w+`", by.strip()) is not None) == (answer == "met"), number
    for section in SECTIONS:
        assert f"# {section}\n" in text


def test_every_test_that_is_named_exists(repo_root: Path) -> None:
    written = "\n".join(path.read_text("utf-8") for path in (repo_root / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)", written))
    named = set(re.findall(r"\btest_\w+", (repo_root / "docs" / "security.md").read_text("utf-8")))
    assert named <= there, named - there
    assert len(named) > 50


def test_security_md_says_when(repo_root: Path) -> None:
    """A way to report, when an answer comes, and which releases are kept up."""
    text = (repo_root / "SECURITY.md").read_text("utf-8")
    for said in ("in private", "within a week", "thirty days", "Supported", "no medical device"):
        assert said in text
