"""Groups hold what the draws ask for, and each depends on its own query alone."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.distill.data.mining import Draw, draw_new, mine_groups
from reranker_kd.distill.data.transfer_set import Group, generator
from reranker_kd.errors import RecipeError


def ranked(*docids):
    return {docid: float(len(docids) - place) for place, docid in enumerate(docids)}


BM25 = {"q1": ranked("a", "b", "c", "d", "e", "f"), "q2": ranked("x"), "q4": ranked("a", "b")}
DENSE = {"q1": ranked("c", "a", "g", "h"), "q2": ranked("y", "x")}
RUNS = {"bm25": BM25, "dense": DENSE}
TOPICS = {"q1": "one", "q2": "two", "q3": "three"}


def docids_of(mined):
    return {group.qid: group.docids for group in mined}


def test_a_worked_example():
    # All of each range is drawn, so that nothing is left to chance: a, b; then c and g, since a is there already.
    mined = mine_groups(TOPICS, RUNS, [Draw("bm25", 5, depth=2), Draw("dense", 2, depth=3)])
    assert mined == (Group("q1", ("a", "b", "c", "g")), Group("q2", ("x", "y")))


def test_ranks_count_from_1_and_both_ends_belong():
    mined = mine_groups(TOPICS, RUNS, [Draw("bm25", 9, first=2, depth=4)])
    assert docids_of(mined) == {"q1": ("b", "c", "d")}


@pytest.mark.parametrize("seed", range(5))
def test_the_top_stays_and_lower_ranks_fill_up(seed):
    (group,) = mine_groups({"q1": "one"}, RUNS, [Draw("bm25", 4, first=2, top=2)], seed=seed)
    assert group.docids[:2] == ("b", "c")
    assert len(group.docids) == 4
    assert set(group.docids[2:]) < {"d", "e", "f"}


def test_every_document_of_the_ranks_is_drawn_about_equally_often():
    topics = {f"q{n}": "text" for n in range(2000)}
    run = {qid: ranked(*"abcdefgh") for qid in topics}
    drawn = [docid for group in mine_groups(topics, {"bm25": run}, [Draw("bm25", 2, 3, 6)]) for docid in group.docids]
    assert set(drawn) == set("cdef")
    # Binomial(2000, 1/2): five standard deviations are 112.
    assert all(abs(drawn.count(docid) - 1000) < 112 for docid in "cdef")


def test_relevant_documents_go_first_and_grades_become_labels():
    qrels = {"q1": {"g": 2, "b": 0, "z": 1, "a": 3}}
    mined = mine_groups(TOPICS, RUNS, [Draw("bm25", 2, depth=2)], qrels=qrels, positives=9, relevance_level=2)
    assert mined[0] == Group("q1", ("g", "a", "b"), (2.0, 3.0, 0.0))
    mined = mine_groups(TOPICS, RUNS, [Draw("dense", 2, depth=2)], qrels=qrels)
    assert mined == (Group("q1", ("c", "a"), (math.nan, 3.0)), Group("q2", ("y", "x"), (math.nan, math.nan)))


def test_one_positive_of_several_is_drawn():
    qrels = {f"q{n}": {"z": 1, "y": 1, "n": 0} for n in range(50)}
    topics = dict.fromkeys(qrels, "text")
    run = {qid: ranked("n", "m") for qid in topics}
    groups = mine_groups(topics, {"bm25": run}, [Draw("bm25", 2)], qrels=qrels, positives=1)
    assert {group.docids[0] for group in groups} == {"z", "y"}
    assert all(len(group.docids) == 3 for group in groups)


COLLECTION = [f"d{n}" for n in range(12)]


@st.composite
def minings(draw):
    docids = st.lists(st.sampled_from(COLLECTION), unique=True, max_size=12)
    topics = dict.fromkeys(draw(st.lists(st.sampled_from("abcde"), unique=True, min_size=1)), "text")
    runs = {
        name: {qid: ranked(*draw(docids)) for qid in topics}
        for name in draw(st.sets(st.sampled_from(["bm25", "dense"])))
    }
    draws = []
    for source in draw(st.lists(st.sampled_from([*sorted(runs), "random"]), min_size=1, max_size=4)):
        count = draw(st.integers(1, 6))
        if source == "random":
            draws.append(Draw(source, count))
        else:
            first = draw(st.integers(1, 4))
            depth = draw(st.none() | st.integers(first, 12))
            draws.append(Draw(source, count, first, depth, draw(st.integers(0, count))))
    qrels = {qid: {docid: draw(st.integers(0, 2)) for docid in draw(docids)} for qid in topics}
    return topics, runs, draws, {"qrels": qrels, "positives": draw(st.integers(0, 2)), "seed": draw(st.integers(0, 99))}


@given(minings())
def test_properties_of_every_mining(mining):
    topics, runs, draws, settings = mining
    mined = mine_groups(topics, runs, draws, collection=COLLECTION, **settings)
    assert mined == mine_groups(topics, runs, draws, collection=COLLECTION, **settings)
    # Two more documents at the end show what was drawn before for every query: those with fewer than 2 have no group.
    more = docids_of(mine_groups(topics, runs, [*draws, Draw("random", 2)], collection=COLLECTION, **settings))
    assert list(more) == list(topics)
    assert [group.qid for group in mined] == [qid for qid in topics if len(more[qid]) >= 4]
    assert all(more[group.qid][: len(group.docids)] == group.docids for group in mined)
    largest = settings["positives"] + sum(draw.count for draw in draws)
    for group in mined:
        assert 2 <= len(group.docids) <= largest
        assert len(set(group.docids)) == len(group.docids)
        grades = settings["qrels"][group.qid]
        assert [None if math.isnan(label) else label for label in group.labels] == [
            grades.get(docid) for docid in group.docids
        ]
        relevant = [docid for docid, grade in grades.items() if grade > 0]
        positives = group.docids[: min(settings["positives"], len(relevant))]
        assert set(positives) <= set(relevant)
        if draws[-1].source == "random":
            # The collection has a document wherever one is wanted.
            assert len(group.docids) >= min(len(COLLECTION), len(positives) + draws[-1].count)


@given(minings())
def test_other_queries_change_nothing(mining):
    topics, runs, draws, settings = mining
    together = docids_of(mine_groups(topics, runs, draws, collection=COLLECTION, **settings))
    assert together == docids_of(
        mine_groups(dict(reversed(topics.items())), runs, draws, collection=COLLECTION, **settings)
    )
    apart = [docids_of(mine_groups({qid: ""}, runs, draws, collection=COLLECTION, **settings)) for qid in topics]
    assert together == {qid: docids for mined in apart for qid, docids in mined.items()}


def test_another_seed_draws_others():
    topics = {f"q{n}": "text" for n in range(5)}
    draws = [Draw("random", 4)]
    first, second = (mine_groups(topics, {}, draws, collection=COLLECTION, seed=seed) for seed in (1, 2))
    assert first != second
    assert len({group.docids for group in first}) == 5


@given(st.integers(1, 20), st.sets(st.sampled_from(COLLECTION)), st.integers(0, 99))
def test_a_draw_from_the_collection_is_of_new_documents(count, taken, seed):
    drawn = draw_new(COLLECTION, count, taken, generator(seed))
    assert len(drawn) == len(set(drawn)) == min(count, len(COLLECTION) - len(taken))
    assert not set(drawn) & taken


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"count": 0}, "count is 0; give 1 or more"),
        ({"count": 1, "first": 0}, "give 1 <= first <= depth"),
        ({"count": 1, "first": 5, "depth": 4}, "give 1 <= first <= depth"),
        ({"count": 1, "top": 2}, "top is 2"),
        ({"count": 1, "top": -1}, "top is -1"),
    ],
)
def test_a_draw_that_cannot_be_is_refused(settings, fault):
    with pytest.raises(RecipeError, match=f"draw from bm25: .*{fault}"):
        Draw("bm25", **settings)


def test_what_cannot_be_mined_is_refused():
    with pytest.raises(RecipeError, match="the collection has no ranks"):
        Draw("random", 1, depth=10)
    with pytest.raises(RecipeError, match="unknown source; known: bm25, dense, random"):
        mine_groups(TOPICS, RUNS, [Draw("splade", 1)])
    with pytest.raises(RecipeError, match="no collection"):
        mine_groups(TOPICS, RUNS, [Draw("random", 1)])
    with pytest.raises(RecipeError, match=r"positives is 1; .* qrels"):
        mine_groups(TOPICS, RUNS, [Draw("bm25", 1)], positives=1)
    with pytest.raises(RecipeError, match="seed is -1"):
        mine_groups(TOPICS, RUNS, [Draw("bm25", 1)], seed=-1)
    with pytest.raises(RecipeError, match="another name"):
        mine_groups(TOPICS, {"random": BM25}, [Draw("random", 1)], collection=COLLECTION)
