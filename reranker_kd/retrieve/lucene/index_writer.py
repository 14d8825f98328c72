"""Writing Lucene indexes through Anserini."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reranker_kd.errors import LuceneError
from reranker_kd.retrieve.lucene.jvm import JAVA_LOG_VARIABLE, in_one_line, pyserini_importable, start_java

_STORED = ["-storePositions", "-storeDocvectors", "-storeRaw"]


def is_index(folder: str | Path) -> bool:
    """Tell whether a folder holds a Lucene index."""
    return any(Path(folder).glob("segments_*"))


def write_index(folder: Path, batches: Iterable[list[str]], *, threads: int = 1) -> None:
    """Write a new Lucene index, with positions, document vectors and raw text.

    :param folder: the folder of the index; must not hold one
    :param batches: documents, each a JSON object with ``id`` and ``contents``; those without a word are dropped
    :param threads: Lucene threads
    :raises LuceneError: the index cannot be written
    """
    with pyserini_importable():
        from pyserini.index.lucene import LuceneIndexer
    indexer = LuceneIndexer(args=["-index", str(folder.resolve()), *_STORED], threads=threads)
    try:
        for batch in batches:
            with _faults_of(folder):
                indexer.add_batch_raw(batch)
    finally:
        with _faults_of(folder):
            indexer.close()


@contextmanager
def _faults_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise LuceneError(f"{folder}: Lucene cannot write the index: {in_one_line(error)}") from error


def index_with_anserini(
    collection: Path, collection_class: str, folder: Path, *, generator: str, threads: int, fields: tuple[str, ...]
) -> None:
    """Index a folder with one of Anserini's own collection classes.

    :param collection: the folder that the class reads
    :param collection_class: such as ``TrecCollection`` or ``MsMarcoV2PassageCollection``
    :param folder: the folder of the new index
    :param generator: Anserini's class that makes Lucene documents
    :param fields: fields of the documents to index beside ``contents``
    :raises LuceneError: an unknown class, or nothing was indexed
    """
    start_java()
    from jnius import autoclass

    for name in (f"io.anserini.collection.{collection_class}", f"io.anserini.index.generator.{generator}"):
        try:
            autoclass(name)
        except Exception:
            raise LuceneError(f"Anserini has no class {name}: check its spelling (capitals count)") from None
    arguments = ["-collection", collection_class, "-input", str(collection.resolve())]
    arguments += ["-index", str(folder.resolve())]
    arguments += ["-generator", generator, "-threads", str(threads)]
    arguments += _STORED
    arguments += ["-fields", *fields] if fields else []
    try:
        autoclass("io.anserini.index.IndexCollection").main(arguments)
    except Exception as error:
        raise LuceneError(f"{collection}: Anserini's {collection_class} failed: {in_one_line(error)}") from error
    if not is_index(folder):
        raise LuceneError(
            f"{collection}: Anserini's {collection_class} wrote no index; {JAVA_LOG_VARIABLE}=1 shows why"
        )
