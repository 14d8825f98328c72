"""Topics: query texts by qid, from TSV, TREC SGML, TREC XML or JSON lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.parsers import expat

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.files import read_lines
from reranker_kd.formats.parsing import (
    Report,
    identifier_fault,
    identifier_under,
    parse_object,
    raise_fault,
    text_under,
)
from reranker_kd.types import Topics

_QID_KEYS = ("_id", "id", "qid")
_QUERY_KEYS = ("query", "title", "text")

_NumberedLines = list[tuple[int, str]]
_LineReport = Callable[[int, str], None]
_FoundTopics = Iterator[tuple[int, str, str]]

_SGML_TOPIC = re.compile(r"<(?:top|doc)\b[^<>]*>", re.IGNORECASE)
_SGML_FIELD = re.compile(r"<(num|docno|title)\b[^<>]*>(.*?)(?=</?[a-z][^<>]*>|\Z)", re.IGNORECASE | re.DOTALL)
_SGML_LABEL = re.compile(r"\s*(?:number|topic)\s*:", re.IGNORECASE)


def read_topics(path: str | Path, topics_format: str | None = None, report: Report = raise_fault) -> Topics:
    """Return query texts by qid, in the order of the file; runs of whitespace in a text become one space.

    :param path: a UTF-8 text file, gzipped or not
    :param topics_format: ``tsv`` (qid TAB text), ``trec`` (``<top>`` with ``<num>`` and ``<title>``, or CACM's
        ``<DOC>`` with ``<DOCNO>``), ``xml`` (``<topic number="1">`` with ``<query>`` or ``<title>``), ``jsonl``
        (``_id``, ``id`` or ``qid`` with ``query``, ``title`` or ``text``); None detects it from the first line
    :param report: called with each fault; by default the first is raised
    :raises InputError: the file cannot be read, or the format is unknown
    :raises FormatError: a query without text, a missing TAB or field, a qid that is empty, repeated or more than
        one word, invalid JSON or XML, a wrong type, no topics
    """
    if topics_format is not None and topics_format not in TOPICS_FORMATS:
        raise InputError(f"unknown topics format {topics_format!r}; expected one of {', '.join(TOPICS_FORMATS)}")

    def report_line(line: int | None, fault: str) -> None:
        report(FormatError(path, line, fault))

    lines = [(number, line) for number, line in read_lines(path, report) if line and not line.isspace()]
    parse = TOPICS_FORMATS[topics_format or _format_of(lines)]
    topics: Topics = {}
    for number, qid, text in parse(lines, report_line):
        text = " ".join(text.split())
        if fault := identifier_fault("qid", qid):
            report_line(number, fault)
        elif qid in topics:
            report_line(number, f"topic {qid} is in the file twice; remove one")
        elif not text:
            report_line(number, f"topic {qid} has no query text; write one or remove the topic")
        else:
            topics[qid] = text
    if not topics:
        report_line(None, "no topics; expected lines of qid TAB text, TREC topics, or JSON lines")
    return topics


def _format_of(lines: _NumberedLines) -> str:
    first = lines[0][1].lstrip() if lines else ""
    if first.startswith("{"):
        return "jsonl"
    if first.startswith("<"):
        return "trec" if any(_SGML_TOPIC.search(line) for _, line in lines) else "xml"
    return "tsv"


def _parse_tsv(lines: _NumberedLines, report: _LineReport) -> _FoundTopics:
    for number, line in lines:
        columns = line.split("\t")
        if len(columns) == 2:
            yield number, columns[0], columns[1]
        else:
            report(number, f"expected 2 columns, qid TAB text, got {len(columns)}")


def _parse_jsonl(lines: _NumberedLines, report: _LineReport) -> _FoundTopics:
    for number, line in lines:
        try:
            value = parse_object(line)
            yield number, identifier_under(value, _QID_KEYS), text_under(value, _QUERY_KEYS)
        except ValueError as error:
            report(number, str(error))


def _parse_trec(lines: _NumberedLines, report: _LineReport) -> _FoundTopics:
    text = "\n".join(line for _, line in lines)
    starts = list(_SGML_TOPIC.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    for start, end in zip(starts, ends, strict=True):
        number = lines[text.count("\n", 0, start.start())][0]
        fields: dict[str, re.Match[str]] = {}
        for field in _SGML_FIELD.finditer(text, start.end(), end):
            fields.setdefault(field[1].lower(), field)
        label = fields.get("num") or fields.get("docno")
        if label is None:
            report(number, "expected <num> or <DOCNO> in this topic")
            continue
        qid = _SGML_LABEL.sub("", label[2], count=1).strip()
        if title := fields.get("title"):
            query = _SGML_LABEL.sub("", title[2], count=1)
        elif label[1].lower() == "docno":
            query = re.sub(r"</?doc(?:no)?\b[^<>]*>", " ", text[label.end() : end], flags=re.IGNORECASE)
        else:
            query = ""
        # The qrels of topics that are numbered 051 say 51, and Anserini reads them so.
        yield number, str(int(qid)) if qid.isdecimal() else qid, query


def _parse_xml(lines: _NumberedLines, report: _LineReport) -> _FoundTopics:
    for number, line in lines:
        # No document type, no entities: a few lines of them can expand to gigabytes.
        if "<!DOCTYPE" in line:
            report(number, "a DOCTYPE is not accepted; remove it, and entities that it declares")
            return
    found: list[tuple[int, str, dict[str, str]]] = []
    open_elements: list[str] = []

    def start_element(name: str, attributes: dict[str, str]) -> None:
        open_elements.append(name)
        if name == "topic":
            number = lines[parser.CurrentLineNumber - 1][0]
            found.append((number, attributes.get("number", attributes.get("id", "")), {}))

    def end_element(_name: str) -> None:
        open_elements.pop()

    def character_data(text: str) -> None:
        for name in ("query", "title"):
            if name in open_elements and "topic" in open_elements:
                texts = found[-1][2]
                texts[name] = texts.get(name, "") + text

    parser = expat.ParserCreate(encoding="utf-8")
    parser.StartElementHandler = start_element
    parser.EndElementHandler = end_element
    parser.CharacterDataHandler = character_data
    try:
        parser.Parse("\n".join(line for _, line in lines), True)
    except expat.ExpatError as error:
        number = lines[min(error.lineno, len(lines)) - 1][0]
        report(number, f"invalid XML at column {error.offset + 1}: {expat.ErrorString(error.code)}")
    for number, qid, texts in found:
        yield number, qid, texts.get("query", texts.get("title", ""))


TOPICS_FORMATS: dict[str, Callable[[_NumberedLines, _LineReport], _FoundTopics]] = {
    "tsv": _parse_tsv,
    "trec": _parse_trec,
    "xml": _parse_xml,
    "jsonl": _parse_jsonl,
}
"""The parser of each format: lines that are not blank -> (line, qid, text) of each topic."""
