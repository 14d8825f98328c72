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
from reranker_kd.compare.plot_style import Picture, picture_svg
from reranker_kd.compare.rankings import ComparedRankings
from reranker_kd.compare.tables import comparison_grids, tests_note

_HARMLESS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}

# Of a page: queries, those with the largest differences first, and documents of each system and query.
MOST_QUERIES = 200
DEPTH = 20
# Of a text: at first, and after "more".
SHOWN_CHARACTERS = 600
MOST_CHARACTERS = 3000


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
    :param texts: of :func:`shown_documents`; None for a page without texts
    """
    script, style = _resource("page.js"), _resource("page.css")
    queries = query_records(comparison, rankings, texts)
    document = {
        "measures": [measure.name for measure in comparison.measures],
        "relevance": comparison.relevance_level,
        "systems": [system.name for system in comparison.systems],
        "baseline": comparison.baseline,
        "reference": rankings.reference,
        "columns": _columns(comparison, rankings),
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


def shown_queries(comparison: Comparison) -> list[str]:
    """Return the queries of the page, those first in which a system is furthest from the baseline in either direction.

    The first measure counts. Ties, and a comparison of a single system, keep the order of the qrels.
    """
    of_systems = [system.per_query[comparison.measures[0].name] for system in comparison.systems]
    held = comparison.system(comparison.baseline).per_query[comparison.measures[0].name]
    furthest = {qid: max(abs(figures[qid] - held[qid]) for figures in of_systems) for qid in comparison.queries}
    return sorted(furthest, key=furthest.__getitem__, reverse=True)[:MOST_QUERIES]


def _columns(comparison: Comparison, rankings: ComparedRankings) -> list[str]:
    """Return what stands side by side: the first stage, and all systems in their order."""
    return list(dict.fromkeys([rankings.reference, *(system.name for system in comparison.systems)]))


def shown_documents(comparison: Comparison, rankings: ComparedRankings) -> list[str]:
    """Return the docids whose texts the page shows, each once."""
    columns = _columns(comparison, rankings)
    found = (rankings.documents(name, qid, DEPTH) for qid in shown_queries(comparison) for name in columns)
    return list(dict.fromkeys(docid for documents in found for docid in documents))


def query_records(
    comparison: Comparison, rankings: ComparedRankings, texts: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    """Return what the page's script reads of each query, as JSON values."""
    columns = _columns(comparison, rankings)
    records = []
    for qid in shown_queries(comparison):
        tops = [rankings.documents(name, qid, DEPTH) for name in columns]
        places = {docid: place for place, docid in enumerate(dict.fromkeys(docid for top in tops for docid in top))}
        grades = rankings.qrels[qid]
        ranks = rankings.reference_ranks(qid)
        record = {
            "qid": qid,
            "text": rankings.topics.get(qid, ""),
            "relevant": sum(grade >= comparison.relevance_level for grade in grades.values()),
            "figures": [[figures[qid] for figures in system.per_query.values()] for system in comparison.systems],
            "documents": [
                {"docid": docid, "grade": grades.get(docid), "rank": ranks.get(docid), **_text_record(docid, texts)}
                for docid in places
            ],
            "columns": [[[places[docid], score] for docid, score in top.items()] for top in tops],
        }
        records.append(record)
    return records


def _text_record(docid: str, texts: Mapping[str, str] | None) -> dict[str, Any]:
    if texts is None:
        return {}
    if (text := texts.get(docid)) is None:
        return {"missing": True}
    return {
        "text": text[:SHOWN_CHARACTERS],
        "more": text[SHOWN_CHARACTERS:MOST_CHARACTERS],
        "cut": len(text) > MOST_CHARACTERS,
    }


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
