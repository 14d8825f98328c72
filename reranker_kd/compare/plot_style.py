"""How pictures look, and their files: PNG and SVG of the same drawing, and its figures as CSV.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any colour vision can tell apart;
markers and hatches say the same without colour. Fonts are of a size to be read in a printed column.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from reranker_kd.formats.files import atomic_binary_writer, atomic_writer

BLACK, GREY = "#000000", "#7f7f7f"
BLUE, VERMILLION = "#0072B2", "#D55E00"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY)
MARKERS = "osD^vPX"
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "+++")

WIDTH = 6.5
"""Inches of a picture: the text of an A4 or letter page."""

# Any, as matplotlib's own type names each of its parameters, in recent versions alone.
_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "figure.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#808080",
    "grid.alpha": 0.35,
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # Names of runs are no formulas.
    "text.parse_math": False,
    # Equal drawings give equal files, which show alike without our fonts.
    "svg.hashsalt": "reranker_kd",
    "svg.fonttype": "path",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture before it is drawn, and the figures that it shows.

    :param name: of its files, without suffix
    :param title: what it shows
    :param caption: how to read it, one or two sentences
    :param header: names of the columns of its data
    :param rows: its data
    :param height: inches; the width is :data:`WIDTH`
    :param draw: puts it on an empty figure
    """

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    height: float
    draw: Callable[[Figure], None]


def picture_svg(picture: Picture) -> str:
    """Return the picture as SVG, the same text for the same picture."""
    return _rendered(picture, "svg", metadata={"Date": None}).decode("utf-8")


def write_pictures(folder: str | Path, pictures: Sequence[Picture]) -> None:
    """Write each picture as ``NAME.svg``, ``NAME.png`` (200 dots an inch) and its data as ``NAME.csv``.

    :raises OutputError: a file cannot be written
    """
    for picture in pictures:
        path = Path(folder) / picture.name
        with atomic_binary_writer(path.with_suffix(".png")) as binary:
            binary.write(_rendered(picture, "png", dpi=200))
        with atomic_writer(path.with_suffix(".svg")) as stream:
            stream.write(picture_svg(picture))
        with atomic_writer(path.with_suffix(".csv")) as stream:
            csv.writer(stream, lineterminator="\n").writerows([picture.header, *picture.rows])


def _rendered(picture: Picture, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A run may be named in letters that the font lacks: they show as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH, picture.height), layout="constrained")
        picture.draw(figure)
        figure.savefig(stream, format=file_format, **options)
    return stream.getvalue()
