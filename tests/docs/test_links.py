"""The links of README.md, CHANGELOG.md, CONTRIBUTING.md and docs/ lead somewhere, and the docs name all there is."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from reranker_kd.cli import cli

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("*.md"))]

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _links(page: Path) -> list[str]:
    return _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files_and_headings(page):
    for link in _links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(PROJECT), f"{page.name}: {link} leads out of the repository"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}: no such heading"


def test_the_table_of_contents_has_every_page():
    listed = {link for link in _links(PROJECT / "docs" / "README.md") if "/" not in link}
    assert listed == {page.name for page in (PROJECT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("verb", cli.list_commands(click.Context(cli)))
def test_every_command_is_shown_at_work(verb):
    reference = PROJECT / "docs" / "command-reference.md"
    pages = [page for page in PAGES if page != reference]
    assert any(f"reranker-kd {verb} " in page.read_text(encoding="utf-8").replace("\n", " ") for page in pages)
