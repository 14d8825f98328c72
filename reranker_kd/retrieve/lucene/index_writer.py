"""Writing Lucene indexes through Anserini."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reranker_kd.errors import LuceneError
from reranker_kd.retrieve.lucene.jvm import JAVA_LOG_VARIABLE, in_one_line, pyserini_importable, start_java


def is_index(folder: str | Path) -> bool:
    """Tell whether a folder holds a Lucene index."""
    return any(Path(folder).glob("segments_*"))


class LuceneIndexWriter:
    """Writes documents into a new Lucene index, with positions, document vectors and raw text.

    :param folder: the folder of the index; must not hold one
    :param threads: Lucene threads
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        with pyserini_importable():
            from pyserini.index.lucene import LuceneIndexer
        options = ["-index", str(folder.resolve()), "-storePositions", "-storeDocvectors", "-storeRaw"]
        self._folder = folder
        self._indexer = LuceneIndexer(args=options, threads=threads)

    def add(self, documents: list[str]) -> None:
        """Add documents, each a JSON object with ``id`` and ``contents``. Those without a word are dropped."""
        with self._faults_named():
            self._indexer.add_batch_raw(documents)

    def close(self) -> None:
        """Write what is in memory and close the index."""
        with self._faults_named():
            self._indexer.close()

    @contextmanager
    def _faults_named(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise LuceneError(f"{self._folder}: Lucene cannot write the index: {in_one_line(error)}") from error


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
    arguments += ["-storePositions", "-storeDocvectors", "-storeRaw"]
    arguments += ["-fields", *fields] if fields else []
    try:
        autoclass("io.anserini.index.IndexCollection").main(arguments)
    except Exception as error:
        raise LuceneError(f"{collection}: Anserini's {collection_class} failed: {in_one_line(error)}") from error
    if not is_index(folder):
        raise LuceneError(
            f"{collection}: Anserini's {collection_class} wrote no index; {JAVA_LOG_VARIABLE}=1 shows why"
        )
