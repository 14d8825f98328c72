"""A table before any layout, and its layouts: text, tabs, Markdown, LaTeX."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Characters, more than any table has in a line.
_WIDEST = 10_000

_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before any layout.

    :param header: names of the columns, of which the first are texts and the others figures
    :param rows: as many cells as the header has
    :param texts: number of columns that hold texts
    :param title: what it shows
    :param bold: (row, column) of the cells that stand out
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    title: str = ""
    bold: frozenset[tuple[int, int]] = frozenset()


def table_text(grid: Grid, *, styled: bool) -> str:
    """Return a table as lines of text at its full width, so that no figure is cut; the title is left out.

    :param styled: with the control codes of a terminal; plain text without
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(grid.header):
        table.add_column(name, justify="left" if place < grid.texts else "right", no_wrap=True)
    for r, row in enumerate(grid.rows):
        # Texts, not strings, which rich would search for markup.
        table.add_row(*(Text(cell, "bold" if (r, c) in grid.bold else "") for c, cell in enumerate(row)))
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=styled, color_system="standard" if styled else None, width=_WIDEST)
    console.print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def tab_separated(grid: Grid) -> str:
    """Return a header line and a line for each row."""
    return "\n".join("\t".join(row) for row in (grid.header, *grid.rows))


def markdown(grid: Grid) -> str:
    """Return the title and the table in GitHub's Markdown."""
    header, *rows = [[_markdown_text(cell) for cell in row] for row in (grid.header, *grid.rows)]
    rules = ["---"] * grid.texts + ["--:"] * (len(grid.header) - grid.texts)
    lines = [f"| {' | '.join(row)} |" for row in (header, rules, *rows)]
    return "\n".join([f"**{_markdown_text(grid.title)}**", "", *lines])


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", text)


def latex(grid: Grid) -> str:
    """Return a ``table`` environment, which wants the package booktabs."""
    columns = "l" * grid.texts + "r" * (len(grid.header) - grid.texts)
    header, *rows = [" & ".join(map(latex_text, row)) + r" \\" for row in (grid.header, *grid.rows)]
    body = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", header, r"\midrule", *rows, r"\bottomrule"]
    caption = f"\\caption{{{latex_text(grid.title)}}}"
    return "\n".join([r"\begin{table}", r"\centering", caption, *body, r"\end{tabular}", r"\end{table}"])


def latex_text(text: str) -> str:
    """Return text as LaTeX shows it to the letter."""
    return "".join(_LATEX.get(letter, letter) for letter in text)
