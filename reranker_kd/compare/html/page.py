"""The page: a template, a style, a script, and the data, which the script puts into the page as text alone.

Names, queries and documents come from anybody. They go into a data block, JSON in which no character can end the
block, and from there into text nodes; a Content-Security-Policy allows the page's own script and style by their
hashes, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from reranker_kd.compare.comparison import Comparison
from reranker_kd.compare.html.queries import DEPTH, MOST_CHARACTERS, SHOWN_CHARACTERS, columns_of, query_records
from reranker_kd.compare.plot_style import Picture, picture_svg
from reranker_kd.compare.rankings import ComparedRankings
from reranker_kd.compare.tables import comparison_grids, tests_note

_HARMLESS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def comparison_page(
    comparison: Comparison,
    rankings: ComparedRankings,
    *,
    files_of: Mapping[str, Sequence[str]],
    pictures: Sequence[Picture] = (),
    left_out: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
) -> str:
    """Return the page as HTML.

    :param comparison: with short names
    :param files_of: name of a system, or of the candidates -> its files
    :param left_out: why pictures are missing
    :param texts: of :func:`reranker_kd.compare.html.queries.shown_documents`; None for a page without texts
    """
    script, style = _resource("page.js"), _resource("page.css")
    queries = query_records(comparison, rankings, texts)
    document = {
        "measures": [measure.name for measure in comparison.measures],
        "relevance": comparison.relevance_level,
        "systems": [system.name for system in comparison.systems],
        "baseline": comparison.baseline,
        "reference": rankings.reference,
        "columns": columns_of(comparison, rankings),
        "files": [{"name": name, "files": list(paths)} for name, paths in files_of.items()],
        "models": {system.name: system.model for system in comparison.systems if system.model},
        "tables": [
            {"title": grid.title, "header": grid.header, "texts": grid.texts, "rows": grid.rows}
            for grid in comparison_grids(comparison)
        ],
        "notes": _notes(comparison, rankings, len(queries), with_texts=texts is not None),
        "test": tests_note(comparison),
        "leftOut": list(left_out),
        "queries": queries,
    }
    return Template(_resource("page.html")).substitute(
        policy=(
            f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        title=escape(f"Comparison over {len(comparison.queries)} queries of {comparison.qrels}"),
        style=style,
        script=script,
        pictures="".join(map(_figure, pictures)),
        data=data_block(document),
    )


def data_block(value: Any) -> str:
    """Return JSON that may stand in a script element of type ``application/json``, whatever the strings in it hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_HARMLESS)
    # Half a surrogate pair, which JSON can hold and UTF-8 cannot.
    return text.encode("utf-8", "replace").decode("utf-8")


def _notes(comparison: Comparison, rankings: ComparedRankings, shown: int, *, with_texts: bool) -> list[str]:
    total = len(comparison.queries)
    which = "all queries" if shown == total else f"the {shown} of {total} queries with the largest differences"
    notes = [f"Shown are {which}, and the top {DEPTH} documents of each run."]
    if with_texts:
        notes.append(f"Texts are cut to {SHOWN_CHARACTERS} characters; “more” shows up to {MOST_CHARACTERS}.")
    else:
        notes.append("The page was made without texts: give them by --collection or --index.")
    if not rankings.topics:
        notes.append("It was made without queries' texts: give them by --topics.")
    if any(system.kind == "seeds" for system in comparison.systems):
        notes.append("Of several seeds the first run's ranking is shown; figures are means over all.")
    return [*notes, f"Arrows count ranks from {rankings.reference}."]


def _figure(picture: Picture) -> str:
    # An image, unlike an svg element, can neither act nor take the page's style.
    svg = base64.b64encode(picture_svg(picture).encode()).decode()
    title, caption = escape(picture.title), escape(picture.caption)
    image = f'<img alt="{title}. {caption}" src="data:image/svg+xml;base64,{svg}">'
    return f"<figure><h3>{title}</h3>{image}<figcaption>{caption}</figcaption></figure>\n"


def _source(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


def _resource(name: str) -> str:
    return (files("reranker_kd.compare.html") / name).read_text(encoding="utf-8")
