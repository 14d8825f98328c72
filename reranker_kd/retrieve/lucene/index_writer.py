"""Writing Lucene indexes through Anserini."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reranker_kd.errors import LuceneError
from reranker_kd.retrieve.lucene.jvm import JAVA_LOG_VARIABLE, in_one_line, pyserini_importable, start_java

_STORED = ["-storePositions", "-storeDocvectors", "-storeRaw"]


def is_index(folder: str | Path) -> bool:
    """Tell whether a folder holds a Lucene index."""
    return any(Path(folder).glob("segments_*"))


def write_index(folder: Path, batches: Iterable[list[str]], *, threads: int, on_progress: Callable[[int], None]) -> int:
    """Write a new Lucene index, with positions, document vectors and raw text; return the number of documents.

    :param folder: the folder of the index; must not hold one
    :param batches: documents, each a JSON object with ``id`` and ``contents``; those without a word are dropped
    :param threads: Lucene threads
    :param on_progress: called with the number of documents added since the last call
    :raises LuceneError: the index cannot be written
    """
    with pyserini_importable():
        from pyserini.index.lucene import LuceneIndexer
    indexer = LuceneIndexer(args=["-index", str(folder.resolve()), *_STORED], threads=threads)
    indexed = 0
    try:
        for batch in batches:
            with _faults_of(folder):
                indexer.add_batch_raw(batch)
            indexed += len(batch)
            on_progress(len(batch))
    finally:
        with _faults_of(folder):
            indexer.close()
    return indexed


@contextmanager
def _faults_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise LuceneError(f"{folder}: Lucene cannot write the index: {in_one_line(error)}") from error


def index_with_anserini(
    collection: Path, collection_class: str, folder: Path, *, generator: str, threads: int, fields: tuple[str, ...]
) -> None:
    """Do what :func:`reranker_kd.retrieve.indexing.build_index_with_class` says, into a new folder."""
    start_java()
    from jnius import autoclass

    for name in (f"io.anserini.collection.{collection_class}", f"io.anserini.index.generator.{generator}"):
        try:
            autoclass(name)
        except Exception:
            raise LuceneError(f"Anserini has no class {name}: check its spelling (capitals count)") from None
    arguments = ["-collection", collection_class, "-input", str(collection.resolve()), "-index", str(folder.resolve())]
    arguments += ["-generator", generator, "-threads", str(threads), *_STORED]
    arguments += ["-fields", *fields] if fields else []
    try:
        autoclass("io.anserini.index.IndexCollection").main(arguments)
    except Exception as error:
        raise LuceneError(f"{collection}: Anserini's {collection_class} failed: {in_one_line(error)}") from error
    if not is_index(folder):
        raise LuceneError(
            f"{collection}: Anserini's {collection_class} wrote no index; {JAVA_LOG_VARIABLE}=1 shows why"
        )
