"""From a collection to a Lucene index: read and checked here, or by a collection class of Anserini's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from reranker_kd.errors import InputError, OutputError
from reranker_kd.formats.collections import documents_with_text
from reranker_kd.formats.files import atomic_folder
from reranker_kd.retrieve.lucene import index_with_anserini, is_index, write_index
from reranker_kd.types import Document

_DOCUMENTS_A_CALL = 1000


def build_index(
    collection: str | Path | Iterable[Document],
    index: str | Path,
    *,
    threads: int = 1,
    overwrite: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[int, list[str]]:
    """Index a collection that :func:`reranker_kd.formats.collections.read_collection` reads.

    Positions, document vectors (for RM3 and Rocchio) and texts are stored. The index appears under its name when
    it is whole, not before.

    :param collection: a JSONL or TSV file, gzipped or not, or a folder of them; or documents that have a text
    :param index: the folder to write
    :param threads: Lucene threads
    :param overwrite: replace an index that is there
    :param on_progress: called with the number of documents added since the last call
    :return: the number of documents in the index; file, line and docid of each that was left out because it holds no
        text, so that it could never be found
    :raises FormatError: a fault in the collection, named by file and line
    :raises OutputError: the folder is there already, or cannot be written
    """
    empty: list[str] = []
    where = collection if isinstance(collection, (str, Path)) else "the collection"
    documents = documents_with_text(collection, empty) if isinstance(collection, (str, Path)) else collection
    lines = (json.dumps({"id": each.docid, "contents": each.text}, ensure_ascii=False) for each in documents)
    batches = iter(lambda: list(islice(lines, _DOCUMENTS_A_CALL)), [])
    with _new_index_folder(Path(index), overwrite=overwrite) as folder:
        # The first batch is read before Java starts: a fault at the top of the file shows at once.
        first = next(batches, None)
        if first is None:
            raise InputError(f"{where}: no document holds text; there is nothing to index")
        indexed = write_index(folder, chain([first], batches), threads=threads, on_progress=on_progress)
    return indexed, empty


def build_index_with_class(
    collection: str | Path,
    collection_class: str,
    index: str | Path,
    *,
    generator: str = "DefaultLuceneDocumentGenerator",
    fields: tuple[str, ...] = (),
    threads: int = 1,
    overwrite: bool = False,
) -> None:
    """Index a folder of files in any format that Anserini has a collection class for.

    :param collection: the folder that the class reads
    :param collection_class: Anserini's class name, such as ``TrecCollection``
    :param generator: Anserini's class that makes Lucene documents
    :param fields: fields of the documents to index beside ``contents``
    :raises LuceneError: an unknown class, or nothing was indexed
    :raises OutputError: the folder is there already, or cannot be written
    """
    if not Path(collection).is_dir():
        raise InputError(f"{collection}: Anserini's collection classes read a folder: name the folder of the files")
    with _new_index_folder(Path(index), overwrite=overwrite) as folder:
        index_with_anserini(
            Path(collection), collection_class, folder, generator=generator, threads=threads, fields=fields
        )


@contextmanager
def _new_index_folder(index: Path, *, overwrite: bool) -> Iterator[Path]:
    if index.exists() and not overwrite:
        raise OutputError(f"{index}: is there already: give --overwrite to replace it, or name another folder")
    if index.exists() and not is_index(index) and not (index.is_dir() and not any(index.iterdir())):
        raise OutputError(f"{index}: holds no Lucene index, so it is not replaced: name another folder")
    with atomic_folder(index, overwrite=overwrite) as building:
        yield building
        (building / "write.lock").unlink(missing_ok=True)
