"""docs/command-reference.md is what its generator makes."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_up_to_date():
    generator = runpy.run_path(str(DOCS / "generate_reference.py"))
    assert (DOCS / "command-reference.md").read_text(encoding="utf-8") == generator["command_reference"](), (
        "the commands have changed: run make docs"
    )
