"""The examples of README.md and docs/ run, page by page, and print what the pages show.

What a fenced block is, its first line says::

    ```LANGUAGE NAME   a file of that name, there before the page's first example
    ```console         lines of $ reranker-kd are run; what is shown below one is compared, ... stands for anything
    ```python          is run, as a doctest where it has >>>; what a ```text block right below it shows is compared
    ```sh              is not run: installing, make, what needs a network; nor is anything else

The Python blocks of a page share their names; those of README.md run each in a process of its own, as a reader's first
lines do. Every page finds the files of docs/quick-start.md, and a cross-encoder in the folder my-cross-encoder.
"""

from __future__ import annotations

import doctest
import io
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reranker_kd.cli import main

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
# These start processes, a service, or a training.
SLOW = {
    "README",
    "benchmarking",
    "bi-encoders",
    "distillation",
    "extending",
    "pyserini-plugin",
    "reports",
    "serving",
    "submission",
}

_FENCED = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A terminal shows a bar in its place.
_PROGRESS = re.compile(r"^\w[\w .+-]*: \d+(/\d+)? \w+, [\d.]+ \w+/s, [\d:]+ elapsed.*\n", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    file: str | None
    content: str
    line: int

    @property
    def last_line(self) -> int:
        return self.line + self.content.count("\n") + 1


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], match[3], text.count("\n", 0, match.start()) + 1) for match in _FENCED.finditer(text)
    ]


def _examples_of(page: Path) -> list[tuple[Block, str | None]]:
    """Return each example with what the page shows below it; None where that is nothing, or part of the block."""
    blocks = blocks_of(page)
    below = {block.line: block.content for block in blocks if block.language == "text" and block.file is None}
    return [
        (block, below.get(block.last_line + 2) if block.language == "python" else None)
        for block in blocks
        if block.file is None and block.language in ("console", "python")
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch, cross_encoder_folder) -> Path:
    """The working directory of a page."""
    monkeypatch.chdir(tmp_path)
    _write_files(PROJECT / "docs" / "quick-start.md", tmp_path)
    (tmp_path / "my-cross-encoder").symlink_to(cross_encoder_folder)
    return tmp_path


def _write_files(page: Path, folder: Path) -> None:
    for block in blocks_of(page):
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.content, encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.stem in SLOW else [], id=page.name)
        for page in PAGES
        if _examples_of(page)
    ],
)
def test_examples_run_and_print_what_the_page_shows(page, folder, monkeypatch):
    _write_files(page, folder)
    if (folder / "pyproject.toml").is_file():
        monkeypatch.syspath_prepend(_install(folder))
    if "pyserini.search" in page.read_text(encoding="utf-8"):
        # Java keeps the working directory that it starts in, and Pyserini hands it paths as they are: a JVM of its own.
        alone = subprocess.run([sys.executable, __file__, page], capture_output=True, text=True, check=False)
        assert alone.returncode == 0, alone.stderr
    else:
        run_page(page)


def run_page(page: Path) -> None:
    """Run the examples of a page in the working directory."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for example, shown in _examples_of(page):
        place = f"{page.name}:{example.line}"
        if example.language == "console":
            _run_console(example.content, place)
        elif ">>> " in example.content:
            _run_doctest(example, names, place)
        else:
            run = _run_alone if page.name == "README.md" else _run_here
            printed = run(example.content, names, place)
            assert shown is None or _same(shown, printed), f"{place}\n-- shown\n{shown}-- printed\n{printed}"


def _run_here(content: str, names: dict[str, Any], place: str) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(content, place, "exec"), names)
    return printed.getvalue()


def _run_alone(content: str, names: dict[str, Any], place: str) -> str:
    ran = subprocess.run([sys.executable, "-c", content], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{place}\n{ran.stderr}"
    return ran.stdout


def _same(shown: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS)


def _install(source: Path) -> str:
    site = source / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(site), str(source)], check=True, capture_output=True)
    return str(site)


def _run_console(content: str, place: str) -> None:
    for entry in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
        command, _, shown = entry.replace("\\\n", " ").partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "reranker-kd", f"{place}: only reranker-kd runs here; put {program} into a block of sh"
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as stopped:
            main(arguments)
        output = _PROGRESS.sub("", printed.getvalue())
        assert stopped.value.code == ("\nerror: " in f"\n{shown}"), f"{place}: {command}\n{output}"
        if shown.strip():
            assert _same(f"{shown.rstrip()}\n", output), f"{place}: {command}\n-- shown\n{shown}-- printed\n{output}"


def _run_doctest(example: Block, names: dict[str, Any], place: str) -> None:
    test = doctest.DocTestParser().get_doctest(example.content, names, place, place, example.line)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(test, out=report.write, clear_globs=False).failed == 0, report.getvalue()
    names.update(test.globs)


def test_what_a_page_shows_is_compared(folder):
    _run_console("$ reranker-kd validate topics.tsv\ntopics.tsv: topics, 2 ..., no fault\n", "here")
    with pytest.raises(AssertionError, match="here: "):
        _run_console("$ reranker-kd validate topics.tsv\ntopics.tsv: topics, 3 entries, no fault\n", "here")
    with pytest.raises(AssertionError, match="here: "):
        _run_console("$ reranker-kd validate absent.tsv\n", "here")


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
