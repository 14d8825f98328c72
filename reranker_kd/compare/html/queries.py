"""What the page shows of each query: the tops of all systems side by side, bounded in number and in size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reranker_kd.compare.comparison import Comparison
from reranker_kd.compare.rankings import ComparedRankings

# Of a page: queries, those with the largest differences first, and documents of each system and query.
MOST_QUERIES = 200
DEPTH = 20
# Of a text: at first, and after "more".
SHOWN_CHARACTERS = 600
MOST_CHARACTERS = 3000


def shown_queries(comparison: Comparison) -> list[str]:
    """Return the queries of the page, those first in which a system is furthest from the baseline in either direction.

    The first measure counts. Ties, and a comparison of a single system, keep the order of the qrels.
    """
    of_systems = [system.per_query[comparison.measures[0].name] for system in comparison.systems]
    held = comparison.system(comparison.baseline).per_query[comparison.measures[0].name]
    furthest = {qid: max(abs(figures[qid] - held[qid]) for figures in of_systems) for qid in comparison.queries}
    return sorted(furthest, key=furthest.__getitem__, reverse=True)[:MOST_QUERIES]


def columns_of(comparison: Comparison, rankings: ComparedRankings) -> list[str]:
    """Return what stands side by side: the first stage, and all systems in their order."""
    return list(dict.fromkeys([rankings.reference, *(system.name for system in comparison.systems)]))


def shown_documents(comparison: Comparison, rankings: ComparedRankings) -> list[str]:
    """Return the docids whose texts the page shows, each once."""
    columns = columns_of(comparison, rankings)
    found = (rankings.documents(name, qid, DEPTH) for qid in shown_queries(comparison) for name in columns)
    return list(dict.fromkeys(docid for documents in found for docid in documents))


def query_records(
    comparison: Comparison, rankings: ComparedRankings, texts: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    """Return what the page's script reads of each query, as JSON values.

    :param texts: of the :func:`shown_documents`; None where there is no source of texts
    """
    columns = columns_of(comparison, rankings)
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
