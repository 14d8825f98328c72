"""Collections: documents streamed from JSON lines or TSV, from one file or a folder of files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

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
from reranker_kd.types import Document

_EXTENSIONS = (".jsonl", ".json", ".tsv")


def read_collection(path: str | Path, report: Report = raise_fault) -> Iterator[Document]:
    """Yield the documents of a collection, in the order of the files' names and of their lines.

    A file holds JSON lines if it begins with ``{``, else TSV, docid TAB text. The docid of a JSON object is under
    ``id``, ``_id`` or ``docid``, the text under ``contents``, or under ``text`` with BEIR's ``title`` in front of it.
    The two are joined by a space, as BEIR joins them; Anserini's BeirFlatCollection has a line break there, also
    after an empty title, which makes the same terms. A folder is searched with its subfolders for names that end in
    .jsonl, .json or .tsv, also with .gz, and do not start with a dot; of BEIR's folder, which holds queries and qrels
    too, ``corpus.jsonl`` alone is the collection. Texts may be empty. Documents are streamed; what is kept of each is
    a 64-bit hash of its docid, 60 to 100 bytes, so that a repeated docid is found.

    :param path: a UTF-8 text file, gzipped or not, or a folder of them
    :param report: called with each fault; by default the first is raised
    :raises InputError: a file cannot be read, or the folder has no such file
    :raises FormatError: invalid JSON, a missing key or column, a wrong type, a docid that is empty, repeated or
        more than one word, no documents
    """
    for _, _, document in read_numbered_documents(path, report):
        yield document


def read_texts(path: str | Path, docids: Collection[str]) -> dict[str, str]:
    """Return docid -> text of those of the documents that the collection has, in one pass over the whole of it.

    :raises InputError: as :func:`read_collection`
    :raises FormatError: as :func:`read_collection`
    """
    wanted = frozenset(docids)
    return {document.docid: document.text for document in read_collection(path) if document.docid in wanted}


def documents_with_text(path: str | Path, empty: list[str]) -> Iterator[Document]:
    """Yield the documents of :func:`read_collection` that hold text.

    :param empty: gets file, line and docid of each of the others
    """
    for file, line, document in read_numbered_documents(path, raise_fault):
        if document.text.strip():
            yield document
        else:
            empty.append(f"{file}:{line}: document {document.docid!r}")


def read_numbered_documents(path: str | Path, report: Report) -> Iterator[tuple[Path, int, Document]]:
    """Yield the documents of :func:`read_collection`, each with its file and line."""
    hashes: set[int] = set()
    for file in _files(Path(path)):
        parse = None
        with closing(read_lines(file, report)) as lines:
            for number, line in lines:
                if not line or line.isspace():
                    continue
                parse = parse or (_parse_json if line.lstrip().startswith("{") else _parse_tsv)
                try:
                    document = parse(line)
                    if fault := identifier_fault("docid", document.docid):
                        raise ValueError(fault)
                except ValueError as error:
                    report(FormatError(file, number, str(error)))
                    continue
                hashed = hash(document.docid)
                if hashed in hashes:
                    report(FormatError(file, number, f"docid {document.docid} is in the collection twice; remove one"))
                    continue
                hashes.add(hashed)
                yield file, number, document
    if not hashes:
        report(FormatError(path, None, "no documents; expected JSON lines, or lines of docid TAB text"))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    for corpus in (path / "corpus.jsonl", path / "corpus.jsonl.gz"):
        if corpus.is_file():
            return [corpus]
    named = [file for file in sorted(path.rglob("*")) if file.name.removesuffix(".gz").endswith(_EXTENSIONS)]
    files = [file for file in named if file.is_file() and "/." not in f"/{file.relative_to(path).as_posix()}"]
    if not files:
        raise InputError(f"{path}: no file ends in {', '.join(_EXTENSIONS)} or one of these with .gz")
    return files


def _parse_json(line: str) -> Document:
    value = parse_object(line)
    docid = identifier_under(value, ["id", "_id", "docid"])
    text = text_under(value, ["contents", "text"])
    if "contents" not in value and value.get("title") is not None:
        text = " ".join(part for part in (text_under(value, ["title"]), text) if part)
    return Document(docid, text)


def _parse_tsv(line: str) -> Document:
    columns = line.split("\t")
    if len(columns) != 2:
        raise ValueError(f"expected 2 columns, docid TAB text, got {len(columns)}")
    return Document(*columns)
