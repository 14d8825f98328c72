"""Every augmentation keeps the contract of its kind, and augmented sets depend on the seed and the texts alone."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reranker_kd.distill.data.augmentation import (
    AUGMENTATIONS,
    Augment,
    augment,
)
from reranker_kd.distill.data.text_augmentation import (
    delete_words,
    inverse_document_frequencies,
    join_texts,
    mask_words,
    pair_with_others,
    query_from_cloze,
    query_from_first_sentence,
    replace_words,
    sample_span,
)
from reranker_kd.distill.data.transfer_set import Group, TransferSet, check, read_transfer_set, write_transfer_set
from reranker_kd.errors import InputError, RecipeError

WORDS = st.lists(st.text("abc.!é", min_size=1, max_size=3), max_size=12)
SPACES = st.sampled_from([" ", "  ", "\n", "\t", "\u2003"])
SENTENCES = st.lists(st.text("ab c", max_size=12).map(lambda text: text + "."), max_size=6).map(" \n".join)
SEEDS = st.integers(0, 2**32)


@st.composite
def texts(draw):
    return "".join(word + draw(SPACES) for word in draw(WORDS))


def rng(seed=0):
    return np.random.default_rng(seed)


def is_subsequence(words, of):
    remaining = iter(of)
    return all(word in remaining for word in words)


@given(texts(), SEEDS, st.floats(0.01, 0.99))
def test_deletion_leaves_a_shorter_subsequence(text, seed, share):
    made = delete_words(text, rng(seed), share=share)
    words = text.split()
    assert (made is None) == (len(words) < 2)
    if made is not None:
        assert 1 <= len(made.split()) < len(words)
        assert is_subsequence(made.split(), words)


@given(texts(), SEEDS, st.floats(0.01, 0.99), st.sampled_from(["[MASK]", "<mask>"]))
def test_masking_keeps_every_word_in_its_place(text, seed, share, mask):
    made = mask_words(text, rng(seed), share=share, mask=mask)
    words = text.split()
    assert (made is None) == (len(words) < 2)
    if made is not None:
        pairs = list(zip(made.split(), words, strict=True))
        assert all(one in (mask, other) for one, other in pairs)
        assert 1 <= sum(one == mask for one, _ in pairs) < len(words)


@given(texts(), SEEDS, st.floats(0.01, 0.99), st.lists(st.sampled_from(["rotor", "nozzle"])))
def test_replacement_keeps_some_words_in_their_places(text, seed, share, terms):
    made = replace_words(text, rng(seed), terms, share=share)
    words = text.split()
    assert (made is None) == (len(words) < 2 or not terms)
    if made is not None:
        pairs = list(zip(made.split(), words, strict=True))
        assert all(one == other or one in terms for one, other in pairs)
        assert any(one == other for one, other in pairs)


def test_replacement_draws_every_term_alike():
    terms = [f"t{number}" for number in range(4)]
    made = replace_words("word " * 40_000, rng(), terms, share=0.5)
    counts = Counter(made.split())
    assert counts.keys() == {"word", *terms}
    assert counts["word"] == pytest.approx(20_000, rel=0.05)
    assert all(counts[term] == pytest.approx(5_000, rel=0.1) for term in terms)


@given(texts(), SEEDS, st.lists(texts(), max_size=5), st.integers(1, 3))
def test_joining_puts_other_texts_behind(text, seed, others, more):
    made = join_texts(text, rng(seed), [*others, text], more=more)
    apart = [other for other in others if other != text]
    if made is None:
        # Of texts that are the same, too many may be drawn.
        assert len(apart) < len(others) or not others
    else:
        assert made.split() in [
            " ".join([text, *drawn]).split()
            for count in range(1, more + 1)
            for drawn in itertools.permutations(apart, count)
        ]
        assert made == " ".join(made.split())


@given(texts(), SEEDS, st.integers(1, 4), st.integers(0, 4))
def test_spans_are_substrings(text, seed, shortest, more):
    made = sample_span(text, rng(seed), shortest=shortest, longest=shortest + more)
    words = text.split()
    assert (made is None) == (len(words) <= shortest)
    if made is not None:
        assert made in text
        assert made == made.strip()
        assert shortest <= len(made.split()) <= min(shortest + more, len(words) - 1)


@given(text=SENTENCES, longest=st.integers(1, 5), keep=st.booleans())
def test_first_sentences_begin_the_text(text, longest, keep):
    made = query_from_first_sentence(text, rng(), {}, longest=longest, keep=keep)
    if made is not None:
        query, rest = made
        assert 1 <= len(query.split()) <= longest
        assert query == " ".join(query.split())
        assert " ".join(text.split()).startswith(query)
        if keep:
            assert rest == text
        else:
            assert query.split() + rest.split() == text.split()


@given(SENTENCES, SEEDS, st.integers(1, 3))
def test_a_cloze_leaves_its_sentence_out(text, seed, shortest):
    made = query_from_cloze(text, rng(seed), {}, shortest=shortest, longest=shortest + 2)
    if made is not None:
        query, rest = made
        assert shortest <= len(query.split()) <= shortest + 2
        assert query not in rest
        assert query in " ".join(text.split())
        assert rest.split()
        assert Counter(query.split()) + Counter(rest.split()) == Counter(text.split())


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 4), SEEDS)
def test_pairing_brings_documents_of_others(own, foreign, kept, seed):
    docids = [f"own{n}" for n in range(own)]
    everyones = [*docids, "elsewhere", *(f"other{n}" for n in range(foreign))]
    made = pair_with_others(docids, {*docids, "elsewhere"}, everyones, rng(seed), kept=kept)
    kept = min(kept, own)
    drawn = min(max(own, 2) - kept, foreign)
    assert (made is None) == (drawn == 0 or kept + drawn < 2)
    if made is not None:
        assert len(set(made)) == len(made) == kept + drawn
        assert is_subsequence(made[:kept], docids)
        assert set(made[kept:]) <= set(everyones[own + 1 :])


def test_worked_examples():
    assert {delete_words("one two", rng(seed)) for seed in range(20)} == {"one", "two"}
    assert {mask_words("one two", rng(seed), mask="<mask>") for seed in range(20)} == {"<mask> two", "one <mask>"}
    assert {sample_span("a b  c", rng(seed)) for seed in range(60)} == {"a", "b", "c", "a b", "b  c"}
    text = "The wing\n\nIt lifts. So it flies!"
    assert query_from_first_sentence(text, rng(), {}) == ("The wing", text)
    assert query_from_first_sentence(text, rng(), {}, longest=1) is None
    assert query_from_first_sentence("It lifts. So it flies!", rng(), {}, keep=False) == ("It lifts.", "So it flies!")
    assert query_from_first_sentence("It lifts at 3.5 bar", rng(), {}) is None
    # "It is." stands within the last sentence, and "No." is too short.
    assert query_from_cloze("It is. No. Yes! Well, It is.", rng(), {}, shortest=2) == (
        "Well, It is.",
        "It is. No. Yes!",
    )
    assert query_from_cloze("The wing lifts it. The wing lifts it.", rng(), {}) is None


@pytest.mark.parametrize(("function", "replaced"), [(delete_words, ""), (mask_words, "[MASK]")])
def test_about_so_many_words_are_touched(function, replaced):
    text = " ".join(f"w{n}" for n in range(10_000))
    made = function(text, rng(), share=0.3).split()
    touched = made.count(replaced) if replaced else 10_000 - len(made)
    # Binomial(10000, 0.3): five standard deviations are 229.
    assert abs(touched - 3000) < 229


def test_a_salient_sentence_is_asked_in_proportion():
    text = "the the of. wing lift."
    idf = {"the": 1.0, "of": 1.0, "wing": 4.0, "lift": 2.0}
    drawn = Counter(query_from_cloze(text, rng(seed), idf, shortest=1)[0] for seed in range(2000))
    # Mean idf 1 against 3, so that 1 in 4 is the first: five standard deviations of Binomial(2000, 1/4) are 97.
    assert abs(drawn["the the of."] - 500) < 97


def test_idf_by_hand():
    idf = inverse_document_frequencies(["The wing, the WING", "the tail"])
    assert idf == pytest.approx({"the": math.log(2), "wing": math.log(3), "tail": math.log(3)})


TEXT = "A short title\nThe wing lifts the plane up. The tail keeps it straight on. Flaps slow it all down."
SET = TransferSet(
    {"q1": "what does a wing do", "q2": "how do planes land", "q3": "wing"},
    {f"d{n}": f"{TEXT} Number {n} says word{n} here." for n in range(8)},
    (
        Group("q1", ("d0", "d1", "d2"), (1.0, 0.0, math.nan)),
        Group("q2", ("d3", "d4", "d0")),
        Group("q3", ("d5", "d6")),
        Group("q1", ("d7", "d0")),
    ),
)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_makes_sound_groups(name, tmp_path):
    made = augment(SET, [Augment(name, count=2)], seed=3)
    check(made)
    write_transfer_set(tmp_path, made)
    assert read_transfer_set(tmp_path) == made
    # The old stays as it was, at the beginning.
    old = len(SET.groups)
    assert made.groups[:old] == SET.groups
    assert made.queries | SET.queries == made.queries
    assert made.documents | SET.documents == made.documents
    new = made.groups[old:]
    assert 4 <= len(new) <= 2 * old
    assert len(set(new)) == len(new)
    assert not set(new) & set(SET.groups)
    assert all(group.labels is None and len(group.docids) >= 2 for group in new)
    # New texts are told by their ids, and all are used.
    for side, ids in [("queries", {g.qid for g in new}), ("documents", {d for g in new for d in g.docids})]:
        added = getattr(made, side).keys() - getattr(SET, side).keys()
        assert added <= ids
        for identifier in added:
            origin, _, label = identifier.rpartition("~")
            assert label in (f"{name}-1", f"{name}-2")
            assert origin in SET.documents or origin in SET.queries


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_seed_decides(name):
    plan = [Augment(name, count=3, share=0.9)]
    one, same, other = (augment(SET, plan, seed) for seed in (1, 1, 2))
    assert one == same
    assert list(one.documents) == list(same.documents)
    assert one != other


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - {"pairing", "cloze", "replacement", "joining"}))
def test_other_queries_change_nothing(name):
    # All queries share documents, of which the same pseudo-query is drawn many times; "own" tells their groups apart.
    queries = {f"q{n}": f"what does wing {n} do" for n in range(12)}
    documents = {f"d{n}": f"{TEXT} Number {n}." for n in range(3)} | {f"own{n}": "x" for n in range(12)}
    groups = tuple(Group(qid, ("d0", "d1", "d2", f"own{n}")) for n, qid in enumerate(queries))
    side = "document" if name == "masking" else None
    plan = [Augment(name, count=2, share=0.8, side=side), Augment(name, count=2, share=0.5, side=side)]

    def made_of(transfer_set, own):
        made = augment(transfer_set, plan, seed=5)
        return [
            (made.queries[group.qid], group, [made.documents[docid] for docid in group.docids])
            for group in made.groups
            if own in group.docids
        ]

    alone = [made_of(TransferSet(queries, documents, (group,)), group.docids[-1]) for group in groups]
    assert alone == [made_of(TransferSet(queries, documents, groups), group.docids[-1]) for group in groups]
    assert sum(map(len, alone)) > 2 * len(groups)


def test_a_query_with_several_groups_is_rewritten_once():
    made = augment(SET, [Augment("deletion")], seed=0)
    assert [group for group in made.groups if group.qid == "q1~deletion-1"] == [
        Group("q1~deletion-1", ("d0", "d1", "d2")),
        Group("q1~deletion-1", ("d7", "d0")),
    ]
    # A single word stays.
    assert not any(qid.startswith("q3~") for qid in made.queries)


def test_the_same_text_is_not_made_twice_for_a_query():
    pair = TransferSet({"q": "two words"}, {"d": "x", "e": "y"}, (Group("q", ("d", "e")),))
    made = augment(pair, [Augment("deletion", count=9), Augment("deletion", count=9)], seed=0)
    assert sorted(made.queries.values()) == ["two", "two words", "words"]
    assert len(made.groups) == 3


def test_steps_of_one_name_are_numbered_on():
    made = augment(SET, [Augment("span", count=1), Augment("deletion"), Augment("span", count=1)], seed=0)
    assert {"q1~span-1", "q1~span-2"} <= made.queries.keys()


@pytest.mark.parametrize(
    ("on", "query", "docids"), [("document", "q2", "d3~deletion-1"), ("both", "q2~deletion-1", "d3~deletion-1")]
)
def test_rewriting_goes_where_it_is_told(on, query, docids):
    made = augment(SET, [Augment("deletion", side=on)], seed=0)
    group = made.groups[len(SET.groups) + 1]
    assert (group.qid, group.docids[0]) == (query, docids)
    assert is_subsequence(made.documents[docids].split(), SET.documents["d3"].split())


def test_documents_that_are_too_short_stay():
    pair = TransferSet({"q": "a"}, {"d": "short", "e": "one two three four"}, (Group("q", ("d", "e")),))
    (_, new) = augment(pair, [Augment("span", side="document", options={"shortest": 3, "longest": 3})], seed=0).groups
    assert new == Group("q", ("d", "e~span-1"))
    assert augment(pair, [Augment("span", side="document", options={"shortest": 9, "longest": 9})], seed=0) == pair


def test_a_cloze_replaces_its_document_in_the_group():
    made = augment(SET, [Augment("cloze")], seed=0)
    for group, old in zip(made.groups[len(SET.groups) :], SET.groups, strict=True):
        (place,) = [place for place, docid in enumerate(group.docids) if docid not in SET.documents]
        origin = old.docids[place]
        assert group.qid == group.docids[place] == f"{origin}~cloze-1"
        assert made.queries[group.qid] in " ".join(SET.documents[origin].split())
        assert made.queries[group.qid] not in made.documents[group.qid]


def test_pairing_takes_no_document_of_the_query():
    made = augment(SET, [Augment("pairing", count=4, options={"kept": 1})], seed=0)
    for group in made.groups[len(SET.groups) :]:
        own = {docid for old in SET.groups if old.qid == group.qid for docid in old.docids}
        assert len(set(group.docids) & own) == 1


def test_a_share_of_the_groups_takes_part():
    documents = {f"d{n}": "a b" for n in range(2)}
    queries = {f"q{n}": "one two" for n in range(2000)}
    many = TransferSet(queries, documents, tuple(Group(qid, ("d0", "d1")) for qid in queries))
    made = augment(many, [Augment("deletion", share=0.25)], seed=0)
    # Binomial(2000, 1/4): five standard deviations are 97.
    assert abs(len(made.groups) - 2500) < 97


@given(
    st.lists(WORDS.filter(bool).map(" ".join), min_size=1, max_size=4), st.lists(texts(), min_size=2, max_size=5), SEEDS
)
def test_no_text_is_ever_empty(queries, documents, seed):
    documents = [text for text in documents if text.split()]
    assume(documents)
    docids = tuple(f"d{n}" for n in range(len(documents)))
    queries = {f"q{n}": text for n, text in enumerate(queries)}
    one = TransferSet(queries, dict(zip(docids, documents, strict=True)), tuple(Group(qid, docids) for qid in queries))
    plan = [Augment(name, side="both" if AUGMENTATIONS[name].kind == "rewriting" else None) for name in AUGMENTATIONS]
    check(augment(one, plan, seed))


@pytest.mark.parametrize(
    ("name", "settings", "fault"),
    [
        ("shuffle", {}, "no augmentation 'shuffle'; known: deletion, masking"),
        ("deletion", {"count": 0}, "count is 0"),
        ("deletion", {"share": 0.0}, "share 0.0"),
        ("deletion", {"share": math.nan}, "share nan"),
        ("deletion", {"side": "title"}, "side is 'title'"),
        ("cloze", {"side": "query"}, "leave side out"),
        ("joining", {"options": {"share": 0.5}}, "unknown option share; known: more"),
        ("joining", {"options": {"more": 0}}, "more is 0"),
        ("joining", {"options": {"more": 1.5}}, "more is 1.5; give a value of type int"),
        ("joining", {"options": {"more": True}}, "more is True; give a value of type int"),
        ("deletion", {"options": {"share": "0.5"}}, "share is '0.5'; give a value of type float"),
        ("deletion", {"options": {"share": 1}}, "share of words is 1"),
        ("masking", {"options": {"mask": "two words"}}, "mask is 'two words'"),
        ("span", {"options": {"shortest": 3, "longest": 2}}, "3 to 2 words"),
        ("first-sentence", {"options": {"longest": 0}}, "longest is 0"),
        ("cloze", {"options": {"shortest": 0}}, "0 to 32 words"),
        ("pairing", {"options": {"kept": -1}}, "kept is -1"),
    ],
)
def test_a_step_that_cannot_be_is_refused_before_anything_is_made(name, settings, fault):
    with pytest.raises(RecipeError) as caught:
        Augment(name, **settings)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_have_the_types_of_their_defaults():
    assert AUGMENTATIONS["masking"].options == {"share": 0.1, "mask": "[MASK]"}
    for name in AUGMENTATIONS:
        Augment(name, options=AUGMENTATIONS[name].options)


def test_a_set_is_not_augmented_twice_in_the_same_way():
    made = augment(SET, [Augment("deletion")], seed=0)
    with pytest.raises(InputError, match="query q1~deletion-1 is there already"):
        augment(made, [Augment("deletion")], seed=0)
    check(augment(made, [Augment("masking")], seed=0))
    with pytest.raises(InputError, match="empty transfer set"):
        augment(TransferSet({}, {}, ()), [], seed=0)
