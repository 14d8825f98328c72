"""Transfer sets come back as they were written, with the same bytes, and faults are named by file and line."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.distill.data.transfer_set import (
    Group,
    TransferSet,
    check,
    generator,
    pairs,
    read_transfer_set,
    write_transfer_set,
)
from reranker_kd.errors import FormatError, InputError, OutputError
from reranker_kd.formats.collections import read_texts
from reranker_kd.formats.topics import read_topics

SET = TransferSet(
    {"q1": "what is a wing", "q1~swap-1": "wing is a what"},
    {"d1": "Title\nA wing lifts.", "d2": "héat \u2028 \t flow", "d3": "{"},
    (Group("q1", ("d2", "d1"), (2.0, math.nan)), Group("q1~swap-1", ("d3",)), Group("q1", ("d3", "d1"))),
)

WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="\ufeff"), min_size=1, max_size=5
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not text.isspace())


@st.composite
def transfer_sets(draw):
    queries = draw(st.dictionaries(WORDS, st.lists(WORDS, min_size=1).map(" ".join), min_size=1, max_size=3))
    documents = draw(st.dictionaries(WORDS, TEXTS, min_size=1, max_size=5))
    label = st.floats(-5, 5) | st.just(math.nan)
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        docids = draw(st.lists(st.sampled_from(sorted(documents)), min_size=1, unique=True).map(tuple))
        labels = draw(st.none() | st.tuples(*[label] * len(docids)))
        groups.append(Group(draw(st.sampled_from(sorted(queries))), docids, labels))
    return TransferSet(queries, documents, tuple(groups))


@given(transfer_sets())
def test_a_set_comes_back_as_it_was_written(tmp_path_factory, transfer_set):
    folder = tmp_path_factory.mktemp("set")
    write_transfer_set(folder, transfer_set)
    read = read_transfer_set(folder)
    assert read == transfer_set
    assert [list(read.queries), list(read.documents)] == [list(transfer_set.queries), list(transfer_set.documents)]
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_transfer_set(folder, read)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written


def test_the_files_are_topics_and_a_collection(tmp_path):
    write_transfer_set(tmp_path / "new" / "set", SET)
    folder = tmp_path / "new" / "set"
    assert sorted(path.name for path in folder.iterdir()) == ["documents.jsonl", "groups.jsonl", "queries.tsv"]
    assert read_topics(folder / "queries.tsv") == SET.queries
    assert read_texts(folder / "documents.jsonl", SET.documents) == SET.documents
    assert "héat" in (folder / "documents.jsonl").read_text(encoding="utf-8")
    first, second, _ = (folder / "groups.jsonl").read_text().splitlines()
    assert first == '{"qid": "q1", "docids": ["d2", "d1"], "labels": [2.0, null]}'
    assert second == '{"qid": "q1~swap-1", "docids": ["d3"]}'


def test_pairs_come_group_after_group_with_repetitions():
    listed = [("q1", "d2"), ("q1", "d1"), ("q1~swap-1", "d3"), ("q1", "d3"), ("q1", "d1")]
    assert pairs(SET) == listed


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"qid": "q9", "docids": ["d1"]}', "query q9 is not among the queries"),
        ('{"qid": "q1", "docids": ["d1", "d9"]}', "document d9 is not among the documents"),
        ('{"qid": "q1", "docids": ["d1", "d2", "d1"]}', "document d1 is in the group twice"),
        ('{"qid": "q1", "docids": []}', "no documents"),
        ('{"qid": "q1"}', "array of strings under docids"),
        ('{"qid": "q1", "docids": "d1"}', "array of strings under docids"),
        ('{"qid": "q1", "docids": ["d1", 2]}', "array of strings under docids"),
        ('{"qid": ["q1"], "docids": ["d1"]}', "a string under qid"),
        ('{"docids": ["d1"]}', "the key qid"),
        ('{"qid": "q1", "docids": ["d1"], "labels": [1, 2]}', "2 labels for 1 documents"),
        ('{"qid": "q1", "docids": ["d1"], "labels": ["1"]}', "finite numbers and nulls"),
        ('{"qid": "q1", "docids": ["d1"], "labels": [true]}', "finite numbers and nulls"),
        ('{"qid": "q1", "docids": ["d1"], "labels": [NaN]}', "finite numbers and nulls"),
        ('{"qid": "q1", "docids": ["d1"], "labels": [Infinity]}', "finite numbers and nulls"),
        ('{"qid": "q1", "docids": ["d1"], "labels": 1}', "finite numbers and nulls"),
        ('{"qid": "q1", "docids": ["d1"], "label": [1]}', "unknown key label"),
        ('["q1"]', "expected one JSON object a line"),
        ('{"qid": "q1"', "invalid JSON"),
    ],
)
def test_a_fault_in_the_groups_is_named_with_its_line(tmp_path, line, fault):
    write_transfer_set(tmp_path, SET)
    with (tmp_path / "groups.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(FormatError) as caught:
        read_transfer_set(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'groups.jsonl'}:4: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "line", "fault"),
    [
        ("queries.tsv", "q1\tagain", "queries.tsv:3: topic q1 is in the file twice"),
        ("queries.tsv", "q5\t ", "queries.tsv:3: topic q5 has no query text"),
        (
            "documents.jsonl",
            '{"id": "d1", "contents": "again"}',
            "documents.jsonl:4: docid d1 is in the collection twice",
        ),
        ("documents.jsonl", '{"id": "d5", "contents": " "}', "documents.jsonl:4: document d5 has no text"),
        ("documents.jsonl", '{"id": "d5", "contents": 1}', "documents.jsonl:4: expected a string under contents"),
    ],
)
def test_a_fault_in_the_texts_is_named_with_its_line(tmp_path, name, line, fault):
    write_transfer_set(tmp_path, SET)
    with (tmp_path / name).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(FormatError, match=fault):
        read_transfer_set(tmp_path)


def test_a_set_that_was_cut_short_is_not_read(tmp_path):
    write_transfer_set(tmp_path, SET)
    (tmp_path / "documents.jsonl").unlink()
    (tmp_path / "documents.jsonl").mkdir()  # so that the second writing fails in its middle
    with pytest.raises(OutputError, match="is a folder"):
        write_transfer_set(tmp_path, SET)
    with pytest.raises(InputError, match=r"no groups\.jsonl"):
        read_transfer_set(tmp_path)


def test_a_set_without_groups_is_refused(tmp_path):
    with pytest.raises(InputError, match="empty transfer set"):
        check(TransferSet(SET.queries, SET.documents, ()))
    write_transfer_set(tmp_path, SET)
    (tmp_path / "groups.jsonl").write_text("\n")
    with pytest.raises(FormatError, match="empty transfer set"):
        read_transfer_set(tmp_path)


@pytest.mark.parametrize(
    ("queries", "documents", "group", "fault"),
    [
        ({"q": "a  b"}, {"d": "x"}, Group("q", ("d",)), "query q has runs of whitespace"),
        ({"q": "a\tb"}, {"d": "x"}, Group("q", ("d",)), "query q has runs of whitespace"),
        ({"q": ""}, {"d": "x"}, Group("q", ("d",)), "query q has no text"),
        ({"q 1": "a"}, {"d": "x"}, Group("q 1", ("d",)), "the qid 'q 1' has whitespace"),
        ({"q": "a"}, {"d": "\n"}, Group("q", ("d",)), "document d has no text"),
        ({"q": "a"}, {"d\t": "x"}, Group("q", ("d\t",)), "has whitespace"),
        ({"q": "a"}, {"d": "x"}, Group("q", ("e",)), "query q: document e is not among the documents"),
        ({"q": "a"}, {"d": "x"}, Group("q", ("d",), ()), "query q: 0 labels for 1 documents"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, queries, documents, group, fault):
    with pytest.raises(InputError, match=fault):
        write_transfer_set(tmp_path / "set", TransferSet(queries, documents, (group,)))
    assert not (tmp_path / "set").exists()


def test_random_numbers_depend_on_the_seed_and_every_name():
    streams = [generator(*arguments).random() for arguments in [(0, "a"), (1, "a"), (0, "b"), (0, "a", ""), (0,)]]
    assert len(set(streams)) == 5
    assert generator(0, "a", "b").random() != generator(0, "ab").random()
    assert generator(0, "a").random() == streams[0]
