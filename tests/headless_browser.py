"""A real browser for the tests of pages; who imports this is skipped, with the reason, where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

_playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_CHROMIUM = shutil.which("chromium")
if _CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium, without a window."""
    with _playwright.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield launched
        launched.close()
