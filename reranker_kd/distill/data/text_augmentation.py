"""New texts out of old ones: words deleted or masked, spans, queries taken out of documents.

Pure functions on texts, which :mod:`reranker_kd.distill.data.augmentation` applies. All draw from the generator that
they are given, and return None where a text is too short to make another one of it.

Masking and n-gram spans are those of Tang et al. 2019 (arXiv 1903.12136, sec. 3.3), whose third way, replacing words
by others with the same part of speech, would need a tagger. Deletion is that of Wei and Zou 2019 (EDA, arXiv
1901.11196), the inverse cloze task that of Lee et al. 2019 (arXiv 1906.00300, sec. 4).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from reranker_kd.distill.data.mining import draw_new
from reranker_kd.errors import RecipeError

_TOKEN = re.compile(r"\S+")
_TERM = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_LEAST_SALIENCE = 1e-9

PseudoQuery = tuple[str, str]
"""A query, and the text of the document that it is paired with."""


def delete_words(text: str, rng: np.random.Generator, *, share: float = 0.1) -> str | None:
    """Return the text without some of its words, single spaces between: at least one goes and one stays.

    :param share: the probability that a word goes, above 0 and below 1
    """
    return " ".join(word for word, stays in _words(text, share, rng) if stays) or None


def mask_words(text: str, rng: np.random.Generator, *, share: float = 0.1, mask: str = "[MASK]") -> str | None:
    """Return the text with some of its words masked, single spaces between: at least one is, and one is not.

    :param share: the probability that a word is masked, above 0 and below 1; 0.1 in Tang et al.
    :param mask: the mask of the teacher's tokenizer
    """
    if mask.split() != [mask]:
        raise RecipeError(f"augmentation masking: mask is {mask!r}; give one word, such as [MASK]")
    return " ".join(word if stays else mask for word, stays in _words(text, share, rng)) or None


def replace_words(text: str, rng: np.random.Generator, terms: Sequence[str], *, share: float = 0.3) -> str | None:
    """Return the text with some of its words replaced by any terms, single spaces between: at least one is, one is not.

    Every term is as likely, so that a student of embeddings also meets the words that its texts hardly have.

    :param terms: what to draw from
    :param share: the probability that a word is replaced, above 0 and below 1
    """
    words = _words(text, share, rng)
    if not terms:
        return None
    drawn = rng.integers(len(terms), size=len(words)).tolist()
    return " ".join(word if stays else terms[d] for (word, stays), d in zip(words, drawn, strict=True)) or None


def join_texts(text: str, rng: np.random.Generator, texts: Sequence[str], *, more: int = 1) -> str | None:
    """Return the text and others after it, single spaces between their words.

    A student of such texts meets longer inputs, and more than one subject in one.

    :param texts: what to draw from, itself among them
    :param more: how many are joined to it, from 1
    """
    if more < 1:
        raise RecipeError(f"augmentation joining: more is {more}; give 1 or more")
    drawn = [texts[place] for place in rng.choice(len(texts), min(more + 1, len(texts)), replace=False).tolist()]
    others = [other for other in drawn if other != text][:more]
    return " ".join(word for joined in [text, *others] for word in joined.split()) if others else None


def sample_span(text: str, rng: np.random.Generator, *, shortest: int = 1, longest: int = 5) -> str | None:
    """Return n successive words of the text, as they stand there; n is drawn evenly, then the place.

    Equal bounds make windows of a fixed length out of documents.

    :param shortest: the least n
    :param longest: the greatest n, if the text has more words; 5 in Tang et al.
    """
    _check_sizes("span", shortest, longest)
    words = list(_TOKEN.finditer(text))
    longest = min(longest, len(words) - 1)
    if longest < shortest:
        return None
    size = rng.integers(shortest, longest + 1)
    first = rng.integers(len(words) - size + 1)
    return text[words[first].start() : words[first + size - 1].end()]


def query_from_first_sentence(
    text: str, _rng: np.random.Generator, _idf: Mapping[str, float], *, longest: int = 32, keep: bool = True
) -> PseudoQuery | None:
    """Return the first of several sentences, as a query; a line break ends a sentence, so that a title is one.

    :param longest: the most words of a query
    :param keep: the document keeps the sentence
    """
    if longest < 1:
        raise RecipeError(f"augmentation first-sentence: longest is {longest}; give 1 or more")
    first, *others = _sentences(text) or [""]
    return (first, text if keep else " ".join(others)) if others and len(first.split()) <= longest else None


def query_from_cloze(
    text: str, rng: np.random.Generator, idf: Mapping[str, float], *, shortest: int = 4, longest: int = 32
) -> PseudoQuery | None:
    """Return a sentence as a query, and the text without it: the inverse cloze task.

    The sentence is drawn with a probability in proportion to its salience, the mean idf of its distinct terms.

    :param idf: inverse document frequencies by lower-case term; where no sentence has any, all are drawn evenly
    :param shortest: the least words of a query
    :param longest: the most words of a query
    """
    _check_sizes("cloze", shortest, longest)
    sentences = _sentences(text)
    weights = np.array([salience(sentence, idf) for sentence in sentences])
    # The order of a weighted draw without replacement: the first of waiting times whose rates are the weights.
    for place in np.argsort(rng.exponential(size=len(sentences)) / np.maximum(weights, _LEAST_SALIENCE)).tolist():
        sentence = sentences[place]
        rest = " ".join(sentences[:place] + sentences[place + 1 :])
        # A sentence that stands in the text twice, or within another, would be found there again.
        if shortest <= len(sentence.split()) <= longest and rest and sentence not in rest:
            return sentence, rest
    return None


def pair_with_others(
    docids: Sequence[str], own: Collection[str], everyones: Sequence[str], rng: np.random.Generator, *, kept: int = 1
) -> tuple[str, ...] | None:
    """Return as many documents as were given, at least 2: ``kept`` of them, in their order, then documents of others.

    :param docids: documents of the query
    :param own: documents that no other query has to give: all of this query's
    :param everyones: documents to draw from, each once
    :param kept: documents of the query that stay, from 0
    """
    if kept < 0:
        raise RecipeError(f"augmentation pairing: kept is {kept}; give 0 or more")
    places = rng.choice(len(docids), min(kept, len(docids)), replace=False).tolist()
    drawn = draw_new(everyones, max(len(docids), 2) - len(places), own, rng)
    paired = (*(docids[place] for place in sorted(places)), *drawn)
    return paired if drawn and len(paired) >= 2 else None


def inverse_document_frequencies(texts: Collection[str]) -> dict[str, float]:
    """Return ln(1 + N / n) by lower-case term, for N texts of which n have the term."""
    counts = Counter(term for text in texts for term in _terms(text))
    return {term: math.log1p(len(texts) / count) for term, count in counts.items()}


def salience(sentence: str, idf: Mapping[str, float]) -> float:
    """Return the mean idf of a sentence's distinct terms; 0 where it has none."""
    terms = _terms(sentence)
    return math.fsum(idf.get(term, 0.0) for term in terms) / max(len(terms), 1)


def _words(text: str, share: float, rng: np.random.Generator) -> list[tuple[str, bool]]:
    """Return the words, each with whether it stays: at least one does and one does not; none of fewer than two."""
    if not 0 < share < 1:
        raise RecipeError(f"augmentation: share of words is {share}; give a number above 0 and below 1")
    words = text.split()
    if len(words) < 2:
        return []
    kept = rng.random(len(words)) >= share
    if kept.all() or not kept.any():
        place = rng.integers(len(words))
        kept[place] = not kept[place]
    return list(zip(words, kept.tolist(), strict=True))


def _sentences(text: str) -> list[str]:
    return [" ".join(sentence.split()) for sentence in _SENTENCE_END.split(text) if sentence and sentence.split()]


def _terms(text: str) -> set[str]:
    return set(_TERM.findall(text.lower()))


def _check_sizes(name: str, shortest: int, longest: int) -> None:
    if not 1 <= shortest <= longest:
        raise RecipeError(f"augmentation {name}: {shortest} to {longest} words; give 1 <= shortest <= longest")
