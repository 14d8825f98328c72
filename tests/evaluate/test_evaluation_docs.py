"""docs/evaluation.md: its examples run, and its table has every measure."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from reranker_kd.cli.evaluate import evaluate
from reranker_kd.evaluate.registry import MEASURES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
COMMAND = "$ reranker-kd evaluate "


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page, read in a folder that holds its files (blocks whose first line is ```text NAME)."""
    text = PAGE.read_text(encoding="utf-8")
    for name, content in re.findall(r"^```text (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return text


def test_commands_print_what_the_page_shows(page: str) -> None:
    examples = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        command, _, printed = example.partition("\n")
        assert command.startswith(COMMAND)
        assert CliRunner().invoke(evaluate, shlex.split(command.removeprefix(COMMAND))).output == printed


def test_python_examples(page: str) -> None:
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, attempted) == (0, 5)


def test_every_measure_is_in_the_table(page: str) -> None:
    for name in MEASURES:
        assert re.search(rf"^\|.*`{name}[@`]", page, re.MULTILINE), name
