"""An open Lucene index: search by BM25 and its relatives, and the stored texts of documents."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import redirect_stdout
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from reranker_kd.errors import LuceneError
from reranker_kd.formats.document_text import text_of_stored_document
from reranker_kd.retrieve.lucene.index_writer import is_index
from reranker_kd.retrieve.lucene.jvm import in_one_line, names_like, pyserini_importable
from reranker_kd.sections import GoesWith, NotWith, Section
from reranker_kd.types import Run, Topics, first_of_each, in_rank_order

_DOCUMENTS_A_CALL = 1000


class SearchSettings(Section):
    """How candidates are retrieved; names and defaults are those of Pyserini's search."""

    k1: Annotated[float | None, GoesWith("b"), NotWith("qld")] = Field(
        default=None, description="BM25's k1.  [default: 0.9, or Pyserini's value for a prebuilt index]"
    )
    b: Annotated[float | None, GoesWith("k1"), NotWith("qld")] = Field(
        default=None, description="BM25's b.  [default: 0.4, or Pyserini's value for a prebuilt index]"
    )
    rm3: bool = Field(default=False, description="Expand queries by RM3.")
    rocchio: bool = Field(default=False, description="Expand queries by Rocchio.")
    qld: bool = Field(default=False, description="Query likelihood with Dirichlet smoothing in place of BM25.")
    fields: dict[str, float] = Field(
        default_factory=dict, description="Search this field with this weight, in place of the contents. Repeatable."
    )
    language: str = Field(default="en", description="Language code of the analyser.")
    threads: int = Field(default=2, ge=1, description="Lucene threads.")
    batch_size: int = Field(default=256, ge=1, description="Topics handed to Lucene at once.")
    hits: int = Field(default=1000, ge=1, description="Documents of each query at most.")
    max_passage: bool = Field(default=False, description="Keep the best passage of each document only.")
    max_passage_hits: Annotated[int, GoesWith("max_passage")] = Field(
        default=100, ge=1, description="Documents to keep; with --max-passage."
    )
    max_passage_delimiter: Annotated[str, GoesWith("max_passage")] = Field(
        default="#",
        min_length=1,
        description="What separates document and passage in a docid; with --max-passage.",
    )
    remove_query: bool = Field(default=False, description="Drop the document whose docid is the qid.")

    @property
    def name(self) -> str:
        """The scoring function in short, such as ``bm25+rm3``."""
        parts = ["qld" if self.qld else "bm25"]
        return "+".join(parts + ["rm3"] * self.rm3 + ["rocchio"] * self.rocchio)


class LuceneIndex:
    """An open Lucene index: search it, and fetch the texts of its documents.

    :param name: a folder that holds a Lucene index, or the name of an index that Pyserini can download
    :raises LuceneError: neither a folder with an index nor a known name, or the download fails
    :raises JavaError: no Java to run Lucene on
    """

    def __init__(self, name: str | Path) -> None:
        self.name = str(name)
        self._searcher = _open_searcher(self.name)
        self.folder = Path(self._searcher.index_dir)

    @property
    def document_count(self) -> int:
        """Number of documents in the index."""
        return int(self._searcher.num_docs)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the index in a provenance file.

        Lucene's ``segments_N`` file names every segment by a random identifier, so its hash stands for the content.
        """
        segments = sorted(self.folder.glob("segments_*"))[-1]
        sha256 = hashlib.sha256(segments.read_bytes()).hexdigest()
        return {"name": self.name, "documents": self.document_count, "segments_sha256": sha256}

    def search(
        self,
        topics: Topics,
        settings: SearchSettings | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Run:
        """Retrieve the best documents of every topic.

        :param topics: query texts by qid
        :param settings: scoring, query expansion, and how much is retrieved; None takes the defaults
        :param on_progress: called with the number of topics that were finished since the last call
        :return: a run with the topics in their order; a topic without a match has no documents
        :raises LuceneError: the settings ask for what the index does not hold
        """
        settings = settings or SearchSettings()
        self._configure(settings)
        run: Run = {}
        remaining = iter(topics.items())
        while batch := dict(islice(remaining, settings.batch_size)):
            found = self._search_batch(batch, settings)
            for qid in batch:
                documents = in_rank_order(found.get(qid, {}))
                if settings.remove_query:
                    # Some collections use documents as queries.
                    documents.pop(qid, None)
                if settings.max_passage:
                    documents = keep_best_passages(documents, settings.max_passage_delimiter, settings.max_passage_hits)
                run[qid] = documents
            on_progress(len(batch))
        return run

    def _configure(self, settings: SearchSettings) -> None:
        searcher = self._searcher
        searcher.set_language(settings.language)
        if settings.qld:
            searcher.set_qld()
        elif settings.k1 is not None:
            searcher.set_bm25(settings.k1, settings.b)
        else:
            searcher.set_bm25()
            if not Path(self.name).exists():
                # Pyserini's own table of tuned values for the indexes that it knows by name.
                from pyserini.search.lucene.__main__ import set_bm25_parameters

                with redirect_stdout(sys.stderr):
                    set_bm25_parameters(searcher, self.name)
        try:
            # Either unsets both, so nothing is set before both are unset.
            searcher.unset_rm3()
            searcher.unset_rocchio()
            if settings.rm3:
                searcher.set_rm3()
            if settings.rocchio:
                searcher.set_rocchio()
        except TypeError:
            raise LuceneError(
                f"{self.name}: holds no document vectors, which RM3 and Rocchio need: "
                "build it with reranker-kd index, which stores them"
            ) from None

    def _search_batch(self, topics: Topics, settings: SearchSettings) -> Run:
        searcher, hits, threads = self._searcher, settings.hits, settings.threads
        # From 2.0 on, Pyserini expands queries in Python; then its own method is the only way through.
        expands_in_python = getattr(searcher, "rm3", None) or getattr(searcher, "rocchio", None)
        if expands_in_python or settings.fields:
            fields = dict(settings.fields)
            found = searcher.batch_search(list(topics.values()), list(topics), k=hits, threads=threads, fields=fields)
            return {qid: first_of_each((hit.docid, hit.score) for hit in found[qid]) for qid in found}
        queries, qids = _array_list(topics.values()), _array_list(topics)
        found = searcher.object.batch_search(queries, qids, hits, threads)
        # One JSON string crosses from Java where Pyserini would cross twice for each hit.
        decoded = json.loads(_hit_writer().writeValueAsString(found))
        return {
            qid: first_of_each((hit["docid"], float(np.float32(hit["score"]))) for hit in listed)
            for qid, listed in decoded.items()
        }

    def texts(self, docids: Collection[str], *, threads: int = 1) -> dict[str, str]:
        """Return the stored text of documents by docid; documents that the index lacks are absent.

        :raises LuceneError: the index stores no text
        """
        texts: dict[str, str] = {}
        for docid, document in self._documents(docids, threads):
            text = text_of_stored_document(document.raw(), document.contents())
            if text is None:
                raise LuceneError(
                    f"{self.name}: stores no text of its documents (first asked: {docid}): rebuild it with "
                    "reranker-kd index, which stores it, or give the texts by --collection"
                )
            texts[docid] = text
        return texts

    def sample(self, count: int, seed: int) -> dict[str, str]:
        """Return the stored texts of so many documents, drawn at random, or of all where there are no more.

        :raises LuceneError: the index stores no text
        """
        everyone = self.document_count
        drawn = np.random.default_rng(seed).choice(everyone, min(count, everyone), replace=False)
        return self.texts([self._searcher.doc(place).docid() for place in sorted(drawn.tolist())])

    def known(self, docids: Collection[str], *, threads: int = 1) -> set[str]:
        """Return those docids that the index has, whether or not it stores their texts."""
        return {docid for docid, _ in self._documents(docids, threads)}

    def _documents(self, docids: Collection[str], threads: int) -> Iterator[tuple[str, Any]]:
        remaining = iter(docids)
        while batch := list(islice(remaining, _DOCUMENTS_A_CALL)):
            yield from self._searcher.batch_doc(batch, threads).items()

    def close(self) -> None:
        """Close the index's files."""
        self._searcher.close()


def keep_best_passages(passages: dict[str, float], delimiter: str, hits: int) -> dict[str, float]:
    """Return documents out of passages: each document with its best passage's score (MaxP).

    :param passages: docid -> score of one query, best first; docids of the form document, delimiter, passage
    :param hits: documents kept at most
    """
    documents = first_of_each((docid.split(delimiter, 1)[0], score) for docid, score in passages.items())
    return dict(islice(documents.items(), hits))


def pyserini_lucene() -> Any:
    """Return the module ``pyserini.search.lucene``, Java running."""
    with pyserini_importable():
        import pyserini.search.lucene

    return pyserini.search.lucene


def _open_searcher(name: str) -> Any:
    path = Path(name)
    if path.exists() and not is_index(path):
        raise LuceneError(f"{name}: holds no Lucene index: build one with reranker-kd index")
    pyserini = pyserini_lucene()
    if path.exists():
        try:
            # Java keeps the working directory that it started in.
            return pyserini.LuceneSearcher(str(path.resolve()))
        except Exception as error:
            raise LuceneError(f"{name}: cannot open the index: {in_one_line(error)}") from error
    from pyserini.prebuilt_index_info import TF_INDEX_INFO

    if name not in TF_INDEX_INFO:
        near = names_like(name, TF_INDEX_INFO)
        raise LuceneError(f"{name}: neither a folder with a Lucene index nor a prebuilt index of Pyserini{near}")
    try:
        with redirect_stdout(sys.stderr):
            searcher = pyserini.LuceneSearcher.from_prebuilt_index(name)
    except Exception as error:
        raise LuceneError(f"{name}: cannot fetch the prebuilt index: {in_one_line(error)}") from error
    if searcher is None:
        # Pyserini prints the reason and returns nothing.
        raise LuceneError(f"{name}: cannot fetch the prebuilt index: connect to the network, or name a local folder")
    return searcher


@cache
def _hit_writer() -> Any:
    """Anserini's Jackson, told to leave out the Lucene document that each hit holds."""
    from jnius import autoclass

    mapper = autoclass("com.fasterxml.jackson.databind.ObjectMapper")()
    document = autoclass("java.lang.Class").forName("org.apache.lucene.document.Document")
    mapper.configOverride(document).setIsIgnoredType(autoclass("java.lang.Boolean")(True))
    return mapper


def _array_list(strings: Collection[str]) -> Any:
    from jnius import autoclass

    listed = autoclass("java.util.ArrayList")()
    for string in strings:
        listed.add(string)
    return listed
