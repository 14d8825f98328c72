"""Qrels: relevance grades by qid and docid, in the columns of TREC or of BEIR."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from reranker_kd.errors import FormatError
from reranker_kd.formats.files import read_lines
from reranker_kd.formats.parsing import Report, identifier_fault, look_ahead, parse_integer, raise_fault
from reranker_kd.types import Qrels

BEIR_HEADER = ["query-id", "corpus-id", "score"]


def read_qrels(path: str | Path, report: Report = raise_fault) -> Qrels:
    """Return relevance grades, qid -> docid -> grade, in the order of the file.

    Two formats, detected from the first line: TREC (``qid iteration docid grade``, whitespace between) and BEIR
    (a header ``query-id corpus-id score``, tabs between). Grades are integers, also negative.

    :param path: a UTF-8 text file, gzipped or not
    :param report: called with each fault; by default the first is raised
    :raises InputError: the file cannot be read
    :raises FormatError: a wrong number of columns, a grade that is no integer, a document judged twice for a
        query, no judgments
    """
    qrels: Qrels = {}
    with closing(read_lines(path, report)) as read:
        first, lines = look_ahead(read)
        is_beir = bool(first) and first[0].lower().split() == BEIR_HEADER
        if is_beir:
            next(lines)
        for number, line in lines:
            if not line or line.isspace():
                continue
            try:
                qid, docid, grade = _parse(line, is_beir=is_beir)
            except ValueError as error:
                report(FormatError(path, number, str(error)))
                continue
            grades = qrels.setdefault(qid, {})
            if docid in grades:
                fault = f"document {docid} is judged twice for query {qid} ({grades[docid]} and {grade}); remove one"
                report(FormatError(path, number, fault))
            else:
                grades[docid] = grade
    if not qrels:
        report(FormatError(path, None, "no judgments; expected lines of qid iteration docid grade"))
    return qrels


def _parse(line: str, *, is_beir: bool) -> tuple[str, str, int]:
    columns = line.split("\t") if is_beir else line.split()
    names = (
        "3 columns with tabs between, query-id corpus-id score" if is_beir else "4 columns, qid iteration docid grade"
    )
    if len(columns) != (3 if is_beir else 4):
        raise ValueError(f"expected {names}, got {len(columns)}")
    qid, (docid, grade) = columns[0], columns[-2:]
    if is_beir and (fault := identifier_fault("query-id", qid) or identifier_fault("corpus-id", docid)):
        raise ValueError(fault)
    if (value := parse_integer(grade)) is None:
        raise ValueError(f"expected an integer as the grade, got {grade!r}")
    return qid, docid, value
