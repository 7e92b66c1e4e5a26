"""The documents made from the code are those the code would make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import made_docs


@pytest.mark.parametrize("name", made_docs.PAGES)
def test_the_document_is_what_the_code_says(name: str, repo_root: Path) -> None:
    committed = (repo_root / "docs" / name).read_text()
    assert committed == made_docs.PAGES[name](), f"docs/{name} is old; run: python -m tests.made_docs"


def test_every_setting_is_described() -> None:
    rows = [line for line in made_docs.settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert not [row for row in rows if row.endswith("|  |")]
