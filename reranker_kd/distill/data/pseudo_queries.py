"""Queries out of a collection's own documents, for users who have no others: titles, sentences, salient spans.

A query that is a sentence is taken out of its document (the inverse cloze task, Lee et al. 2019, arXiv 1906.00300,
sec. 4), so that the document is found by what it says and not by the same words. So each query has one document that is
known to answer it.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reranker_kd.distill.data.text_augmentation import (
    inverse_document_frequencies,
    query_from_cloze,
    query_from_first_sentence,
    salience,
    sample_span,
)
from reranker_kd.distill.data.transfer_set import generator

_SPANS_TRIED = 24
_LONGEST_SPAN = 6
# Numbers and the end of a sentence; punctuation at the ends is cut off.
_NOT_WITHIN = re.compile(r"\d|[^\w\s]\s")


@dataclass(frozen=True, slots=True)
class PseudoQueries:
    """Queries and the documents that they are of.

    :param queries: their texts by qid, document after document
    :param sources: qid -> docid of the document that a query was made of
    :param documents: docid -> its text without the sentences that became queries
    """

    queries: dict[str, str]
    sources: dict[str, str]
    documents: dict[str, str]


def pseudo_queries(documents: Mapping[str, str], seed: int) -> PseudoQueries:
    """Return up to three queries of each document: its title or first sentence, another sentence, a salient span.

    What is made of a document depends on the seed, its docid and the terms of all documents. A sentence becomes a query
    only where text is left; of documents of one sentence there are spans alone.
    """
    idf = inverse_document_frequencies(documents.values())
    made = PseudoQueries({}, {}, {})
    for docid, text in documents.items():
        rng = generator(seed, docid)
        rest, found = text, {}
        if taken := query_from_first_sentence(rest, rng, idf, keep=False):
            found["title"], rest = taken
        if taken := query_from_cloze(rest, rng, idf):
            found["sentence"], rest = taken
        if span := _salient_span(rest, idf, rng):
            found["span"] = span
        made.documents[docid] = rest
        for name, query in found.items():
            if query := " ".join(query.split()):
                made.queries[f"{docid}~{name}"] = query
                made.sources[f"{docid}~{name}"] = docid
    return made


def _salient_span(text: str, idf: Mapping[str, float], rng: np.random.Generator) -> str | None:
    """Return the most salient of some spans of two to six words, without digits or punctuation within."""
    drawn = (sample_span(text, rng, shortest=2, longest=_LONGEST_SPAN) for _ in range(_SPANS_TRIED))
    spans = [span.strip(string.punctuation) for span in drawn if span and not _NOT_WITHIN.search(span)]
    return max(spans, key=lambda span: salience(span, idf), default=None)
