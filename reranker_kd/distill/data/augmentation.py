"""Augmentation: more queries, documents and pairs for a teacher to score than a collection has.

A student learns little from a few thousand pairs; texts that nobody wrote teach it too, since the teacher scores them.
So **everything made here is labelled by the teacher**: new groups have no human labels, as a query that lost a word
may ask for something else. That a BiLSTM comes near to its teacher by augmentation on queries and titles is the finding
of Dahlmann and Lancewicki 2021 (arXiv 2108.10197).

An entry of :data:`AUGMENTATIONS` holds a pure function, such as those of
:mod:`reranker_kd.distill.data.text_augmentation`. There are three kinds:

- a rewriting takes a query or document and returns another text;
- a pseudo-query takes a document and returns a query and the document that goes with it;
- a pairing takes the documents of a query and returns others.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

from reranker_kd.distill.data import text_augmentation as making
from reranker_kd.distill.data.transfer_set import Group, TransferSet, check, generator
from reranker_kd.errors import InputError, RecipeError
from reranker_kd.registry import Registry


@dataclass(frozen=True, slots=True)
class Augmentation:
    """An augmentation.

    :param function: its keyword-only arguments are the options, whose defaults have their types; of empty texts it
        makes nothing, after a look at its options
    :param kind: what the function takes and returns, see the module
    :param side: what a rewriting rewrites, unless the plan says otherwise
    :param material: what a rewriting is given of the whole set: its documents' distinct ``terms``, or their ``texts``
    """

    function: Callable[..., Any]
    kind: Literal["rewriting", "pseudo-query", "pairing"]
    side: str | None = None
    material: Literal["terms", "texts"] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Its options with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


AUGMENTATIONS: Registry[Augmentation] = Registry(
    "augmentation",
    "reranker_kd.augmentations",
    {
        "deletion": Augmentation(making.delete_words, "rewriting", "query"),
        "masking": Augmentation(making.mask_words, "rewriting", "query"),
        "replacement": Augmentation(making.replace_words, "rewriting", "document", "terms"),
        "joining": Augmentation(making.join_texts, "rewriting", "document", "texts"),
        "span": Augmentation(making.sample_span, "rewriting", "query"),
        "first-sentence": Augmentation(making.query_from_first_sentence, "pseudo-query"),
        "cloze": Augmentation(making.query_from_cloze, "pseudo-query"),
        "pairing": Augmentation(making.pair_with_others, "pairing"),
    },
)


@dataclass(frozen=True, slots=True)
class Augment:
    """One step of a plan.

    :param name: of :data:`AUGMENTATIONS`
    :param count: new groups that are made of an old one, from 1
    :param share: the probability that an old group takes part, above 0 and at most 1
    :param side: ``query``, ``document`` or ``both``, for rewritings only; None takes what the entry says
    :param options: of the augmentation
    :raises RecipeError: an unknown name or option, a wrong type or value
    """

    name: str
    count: int = 1
    share: float = 1.0
    side: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"augmentation {self.name}"
        try:
            entry = self.entry
        except InputError as error:
            raise RecipeError(str(error)) from None
        if self.count < 1 or not 0 < self.share <= 1:
            raise RecipeError(f"{where}: count is {self.count}, share {self.share}; give count >= 1 and 0 < share <= 1")
        if self.side is not None and entry.kind != "rewriting":
            raise RecipeError(f"{where}: rewrites no text; leave side out")
        if self.side not in (None, "query", "document", "both"):
            raise RecipeError(f"{where}: side is {self.side!r}; give query, document or both")
        known = entry.options
        for option, value in self.options.items():
            if option not in known:
                raise RecipeError(f"{where}: unknown option {option}; known: {', '.join(known) or 'none'}")
            wanted = type(known[option])
            if type(value) is not wanted and not (wanted is float and type(value) is int):
                raise RecipeError(f"{where}: {option} is {value!r}; give a value of type {wanted.__name__}")
        if self.options:
            # Of empty texts it makes nothing, after a look at its options.
            _Maker(_EMPTY, 0).make(_EMPTY.groups[0], self, "")

    @property
    def entry(self) -> Augmentation:
        """What it applies."""
        return AUGMENTATIONS[self.name]


def augment(transfer_set: TransferSet, plan: Sequence[Augment], seed: int) -> TransferSet:
    """Return the transfer set with more groups: the old ones, then each step's, all made of the old ones.

    New groups have no labels: the teacher scores them. New texts have ids that tell where they come from, such as
    ``q7~deletion-1``, numbered by name through the whole plan, and depend on the seed, that id, the text and the step.
    Only pairing, cloze, replacement and joining, which look at all documents, make others when the set grows.

    A rewriting makes a group of the new query and the old documents, or of the old query and the new documents, those
    too short to be rewritten staying as they are. A pseudo-query, whose qid begins with its docid, gets the documents
    of the group whose one document it was drawn from: candidates that are close to it. What cannot be made is left
    out, as is a text that the same augmentation made before of the same text for the same query; so there may be fewer
    groups than asked for. Texts are never empty.

    :param seed: from 0
    :raises InputError: the set is at fault (see :func:`~reranker_kd.distill.data.transfer_set.check`), or has been
        augmented in the same way
    """
    if seed < 0:
        raise RecipeError(f"seed is {seed}; give 0 or more")
    check(transfer_set)
    maker = _Maker(transfer_set, seed)
    groups = list(transfer_set.groups)
    numbers: Counter[str] = Counter()
    for step in plan:
        labels = [f"{step.name}-{numbers[step.name] + copy}" for copy in range(1, step.count + 1)]
        numbers[step.name] += step.count
        for group in transfer_set.groups:
            if step.share == 1 or maker.generator("share", labels[0], group.qid, *group.docids).random() < step.share:
                groups += filter(None, (maker.make(group, step, label) for label in labels))
    queries, documents = transfer_set.queries | maker.new["query"], transfer_set.documents | maker.new["document"]
    return TransferSet(queries, documents, tuple(groups))


class _Maker:
    """Makes groups of each kind, and keeps their new texts beside the old ones."""

    def __init__(self, source: TransferSet, seed: int) -> None:
        self.old = {"query": source.queries, "document": source.documents}
        self.new: dict[str, dict[str, str]] = {"query": {}, "document": {}}
        self.generator = partial(generator, seed)
        self._seen: dict[tuple[str, str, str, str], dict[str, str]] = {}
        self._own: dict[str, dict[str, None]] = {}
        for group in source.groups:
            self._own.setdefault(group.qid, {}).update(dict.fromkeys(group.docids))
        self._docids = tuple(dict.fromkeys(docid for docids in self._own.values() for docid in docids))
        self.texts = tuple(source.documents.values())

    @cached_property
    def idf(self) -> dict[str, float]:
        return making.inverse_document_frequencies(self.texts)

    @cached_property
    def terms(self) -> tuple[str, ...]:
        return tuple(sorted(self.idf))

    def make(self, group: Group, step: Augment, label: str) -> Group | None:
        """Return the group that a step makes of an old one, or None where it cannot."""
        kinds = {"rewriting": self._rewrite, "pseudo-query": self._ask, "pairing": self._pair}
        return kinds[step.entry.kind](group, step, label)

    def _rewrite(self, group: Group, step: Augment, label: str) -> Group | None:
        entry = step.entry
        material = [] if entry.material is None else [getattr(self, entry.material)]

        def rewritten(side: str, old: str) -> str:
            if (step.side or entry.side) not in (side, "both"):
                return old
            text = entry.function(self.old[side][old], self.generator(side, label, old), *material, **step.options)
            return self._add(group, side, old, label, text) or old

        new = Group(rewritten("query", group.qid), tuple(rewritten("document", docid) for docid in group.docids))
        return None if (new.qid, new.docids) == (group.qid, group.docids) else new

    def _ask(self, group: Group, step: Augment, label: str) -> Group | None:
        for place in self.generator(label, group.qid, *group.docids).permutation(len(group.docids)):
            docid = group.docids[place]
            text = self.old["document"][docid]
            asked = step.entry.function(text, self.generator("document", label, docid), self.idf, **step.options)
            if asked is None or (qid := self._add(group, "query", docid, label, asked[0])) is None:
                continue
            answer = docid if asked[1] == text else self._add(group, "document", docid, label, asked[1])
            if answer is not None:
                return Group(qid, (*group.docids[:place], answer, *group.docids[place + 1 :]))
        return None

    def _pair(self, group: Group, step: Augment, label: str) -> Group | None:
        rng = self.generator(label, group.qid, *group.docids)
        docids = step.entry.function(group.docids, self._own[group.qid], self._docids, rng, **step.options)
        return None if docids is None else Group(group.qid, docids)

    def _add(self, group: Group, side: str, old: str, label: str, text: str | None) -> str | None:
        """Return the id under which the text now stands, or None where it is none, or the group's query has it."""
        if not text:
            return None
        new = f"{old}~{label}"
        if new in self.old[side]:
            raise InputError(f"transfer set: {side} {new} is there already: augment the set that it was made from")
        # Of each query's groups apart, so that what one gets does not depend on others.
        seen = self._seen.setdefault((group.qid, side, old, label.rpartition("-")[0]), {})
        if seen.setdefault(text, new) != new:
            return None
        self.new[side][new] = text
        return new


_EMPTY = TransferSet({"": ""}, {"": ""}, (Group("", ("",)),))
