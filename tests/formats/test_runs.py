from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reranker_kd.errors import FormatError, InputError, OutputError
from reranker_kd.formats.runs import line_of_candidate, read_run, strictly_decreasing, write_run
from reranker_kd.types import rank_order

EXPECTED = {"1": ["d2", "d1", "d3"], "2": ["d1"]}

# Ranks disagree with scores, queries alternate, columns are separated by any whitespace.
TREC = "1 Q0 d1 1 2.5 t\n2\tQ0\td1\t1\t-7e-1\tt\n1 0  d3 2 1 t\n\n1 Q0 d2 -3 2.50001 t\n"
MSMARCO = "1\td3\t30\n2\td1\t1\n1\td1\t2\n\n1\td2\t1\n"


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encode", [str.encode, lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()])
@pytest.mark.parametrize("content", [TREC, MSMARCO], ids=["trec", "msmarco"])
def test_both_formats_are_told_by_content_and_come_ranked(tmp_path, content, encode, compress):
    path = tmp_path / "run"
    path.write_bytes(compress(encode(content)))
    assert {qid: list(documents) for qid, documents in read_run(path).items()} == EXPECTED


def test_scores_are_kept_and_those_of_msmarco_are_one_over_rank(tmp_path):
    path = tmp_path / "run"
    path.write_text(TREC)
    assert read_run(path) == {"1": {"d2": 2.50001, "d1": 2.5, "d3": 1.0}, "2": {"d1": -0.7}}
    path.write_text(MSMARCO)
    assert read_run(path) == {"1": {"d2": 1.0, "d1": 1 / 2, "d3": 1 / 30}, "2": {"d1": 1.0}}


def test_ties_come_as_trec_eval_breaks_them(tmp_path):
    path = tmp_path / "run"
    # The second and third scores are one single.
    path.write_text("1 Q0 a 1 3 t\n1 Q0 b 2 2.00000001 t\n1 Q0 c 3 2 t\n1 Q0 d 4 1 t\n")
    assert list(read_run(path)["1"]) == ["a", "c", "b", "d"]


TREC_START = "1 Q0 d1 1 2.5 t\n1 Q0 d2 2 1.5 t\n"
MSMARCO_START = "1\td1\t1\n1\td2\t2\n"
FAULTS = {
    "5 columns": (TREC_START + "1 Q0 d3 3 0.5\n", 3, "expected 6 columns, qid Q0 docid rank score tag, got 5"),
    "7 columns": (TREC_START + "1 Q0 d 3 3 0.5 t\n", 3, "expected 6 columns, qid Q0 docid rank score tag, got 7"),
    "word as score": (TREC_START + "1 Q0 d3 3 high t\n", 3, "expected a number as the score, got 'high'"),
    "NaN": (TREC_START + "1 Q0 d3 3 NaN t\n", 3, "the score is NaN; expected a finite number"),
    "infinity": (TREC_START + "1 Q0 d3 3 -inf t\n", 3, "the score is -inf; expected a finite number"),
    "beyond singles": (TREC_START + "1 Q0 d3 3 3.5e38 t\n", 3, "the score 3.5e38 is beyond single precision"),
    "score with underscore": (TREC_START + "1 Q0 d3 3 1_0 t\n", 3, "expected ASCII digits without underscores"),
    "score in other digits": (TREC_START + "1 Q0 d3 3 \u0661 t\n", 3, "expected ASCII digits without underscores"),
    "word as rank": (TREC_START + "1 Q0 d3 third 0.5 t\n", 3, "expected an integer as the rank, got 'third'"),
    "decimal rank": (TREC_START + "1 Q0 d3 3.0 0.5 t\n", 3, "expected an integer as the rank, got '3.0'"),
    "duplicate": (TREC_START + "2 Q0 d1 1 9 t\n1 Q0 d1 3 0.5 t\n", 4, "document d1 is listed twice for query 1"),
    "adjacent duplicate": (TREC_START + "1 Q0 d2 3 0.5 t\n", 3, "document d2 is listed twice for query 1"),
    "MS MARCO in TREC": (TREC_START + "1\td3\t3\n", 3, "expected 6 columns, qid Q0 docid rank score tag, got 3"),
    "first line broken": ("1 Q0 d0 1\n" + TREC_START, 1, "expected 6 columns, qid Q0 docid rank score tag, got 4"),
    "TREC in MS MARCO": (MSMARCO_START + "1 Q0 d3 3 0.5 t\n", 3, "expected 3 columns, qid TAB docid TAB rank, got 1 "),
    "spaces in MS MARCO": (MSMARCO_START + "1 d3 3\n", 3, "expected 3 columns, qid TAB docid TAB rank, got 1 with 3"),
    "two words as docid": (MSMARCO_START + "1\td 3\t3\n", 3, "got 3 with 4 words"),
    "empty docid": (MSMARCO_START + "1\t\t3\n", 3, "got 3 with 2 words"),
    "endless MS MARCO rank": (MSMARCO_START + f"1\td3\t{'9' * 5000}\n", 3, "expected an integer from 1 as the rank"),
    "rank 0": (MSMARCO_START + "1\td3\t0\n", 3, "expected an integer from 1 as the rank, got '0'"),
    "word as MS MARCO rank": (MSMARCO_START + "1\td3\tx\n", 3, "expected an integer from 1 as the rank, got 'x'"),
    "MS MARCO duplicate": (MSMARCO_START + "1\td1\t3\n", 3, "document d1 is listed twice for query 1"),
    "first MS MARCO line broken": ("1\td0\n" + MSMARCO_START, 1, "expected 3 columns, qid TAB docid TAB rank, got 2"),
    "empty file": ("", None, "no documents; expected lines of qid Q0 docid rank score tag"),
    "blank lines only": ("\n  \n", None, "no documents"),
}


@pytest.mark.parametrize(("content", "line", "fault"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named_with_their_line(tmp_path, content, line, fault):
    path = tmp_path / "run"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError, match=fault) as raised:
        read_run(path)
    assert (raised.value.path, raised.value.line) == (str(path), line)


LONG_RUN = [f"{i // 100} Q0 d{i % 100} {i % 100 + 1} {100 - i % 100}.5 t" for i in range(10_000)]
BREAKAGES = {
    "cut": lambda line: line.rsplit(" ", 2)[0],
    "joined": lambda line: f"{line} {line}",
    "NaN": lambda line: line.replace(".5 t", "nan t"),
    "garbage": lambda line: "\x00\x01",
}


@settings(max_examples=20)
@given(index=st.integers(0, 9_999), breakage=st.sampled_from(sorted(BREAKAGES)))
def test_a_malformed_line_anywhere_in_a_run_of_10000_is_named(tmp_path, index, breakage):
    lines = list(LONG_RUN)
    lines[index] = BREAKAGES[breakage](lines[index])
    path = tmp_path / "run"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(FormatError) as raised:
        read_run(path)
    assert raised.value.line == index + 1


def test_every_fault_is_reported_and_the_rest_read(tmp_path):
    path = tmp_path / "run"
    path.write_text("bad\n1 Q0 d1 1 2.5 t\n1 Q0 d1 2 2 t\n1 Q0 d2 3 nan t\n1 Q0 d3 4 1 t\n")
    faults = []
    assert read_run(path, faults.append) == {"1": {"d1": 2.5, "d3": 1.0}}
    assert [fault.line for fault in faults] == [1, 3, 4]


@pytest.mark.parametrize("content", [TREC, MSMARCO], ids=["trec", "msmarco"])
def test_the_line_of_a_candidate_is_found(tmp_path, content):
    path = tmp_path / "run"
    path.write_text(content)
    assert line_of_candidate(path, "1", "d2") == 5
    assert line_of_candidate(path, "2", "d1") == 2
    assert line_of_candidate(path, "2", "d2") is None
    # A rank or a score is not taken for a docid.
    assert line_of_candidate(path, "1", "1") is None
    assert line_of_candidate(path, "2", None) == 2


# A byte order mark at the start of a file is not part of a qid.
WORDS = st.text(min_size=1, max_size=6).filter(lambda text: text.split() == [text] and "\ufeff" not in text)
LARGEST = float(np.finfo(np.float32).max)
SMALLEST_DENORMAL = 1.401298464324817e-45
# Below -1e38 there may be no room for many ties; that has a test of its own.
SCORES = st.one_of(
    st.floats(-1e38, LARGEST),
    st.floats(-100, 100, width=32),
    st.sampled_from([0.0, -0.0, 1.0, 1 + 1e-9, -1e38, LARGEST, SMALLEST_DENORMAL, -SMALLEST_DENORMAL, 1e-40, 1e-7]),
)
RUNS = st.dictionaries(WORDS, st.dictionaries(WORDS, SCORES, min_size=1, max_size=30), min_size=1, max_size=4)


@given(run=RUNS, tag=WORDS)
def test_what_is_written_is_read_back_in_the_printed_order(tmp_path, run, tag):
    path = tmp_path / "run"
    write_run(path, run, tag=tag)
    columns = [line.split() for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    again = read_run(path)

    assert list(again) == list(run)
    for qid, documents in run.items():
        printed = [row for row in columns if row[0] == qid]
        best_first = [list(documents)[i] for i in rank_order(list(documents), list(documents.values()))]
        assert [row[2] for row in printed] == list(again[qid]) == best_first
        assert [row[3] for row in printed] == [str(rank) for rank in range(1, len(documents) + 1)]
        singles = np.array(list(again[qid].values()), dtype=np.float32)
        assert (singles[1:] < singles[:-1]).all()
        assert (singles <= np.array([documents[docid] for docid in best_first], dtype=np.float32)).all()
    assert {(row[1], row[5]) for row in columns} == {("Q0", tag)}
    assert not any("e" in row[4] for row in columns)


@given(documents=st.dictionaries(WORDS, SCORES, min_size=1, max_size=30))
def test_scores_that_decrease_already_are_kept(tmp_path, documents):
    singles = np.array(list(documents.values()), dtype=np.float32)
    assume(len(set(singles.tolist())) == len(singles))
    write_run(tmp_path / "run", {"1": documents})
    again = read_run(tmp_path / "run")["1"]
    assert [np.float32(again[docid]) for docid in documents] == singles.tolist()


@given(run=RUNS)
def test_msmarco_runs_keep_the_order(tmp_path, run):
    write_run(tmp_path / "trec", run)
    write_run(tmp_path / "msmarco", run, output_format="msmarco")
    in_order = [(qid, list(documents)) for qid, documents in read_run(tmp_path / "trec").items()]
    assert [(qid, list(documents)) for qid, documents in read_run(tmp_path / "msmarco").items()] == in_order


def test_the_layouts_to_the_letter(tmp_path):
    run = {"q1": {"a": 0.1, "b": 12.0, "c": -1e-9}, "q2": {"d": 1e10}}
    write_run(tmp_path / "run", run, tag="bm25", hits=2)
    assert (tmp_path / "run").read_text() == "q1 Q0 b 1 12.0 bm25\nq1 Q0 a 2 0.1 bm25\nq2 Q0 d 1 10000000000.0 bm25\n"
    write_run(tmp_path / "run.gz", run, output_format="msmarco")
    assert gzip.decompress((tmp_path / "run.gz").read_bytes()) == b"q1\tb\t1\nq1\ta\t2\nq1\tc\t3\nq2\td\t1\n"


def test_the_shortest_decimal_gives_back_the_single_through_a_double(tmp_path):
    # The bits 0x15ae43fd: its shortest decimal, 7.038531e-26, rounds to the next single by way of a double.
    single = np.uint32(0x15AE43FD).view(np.float32)
    write_run(tmp_path / "run", {"1": {"d": float(single)}})
    assert np.float32(read_run(tmp_path / "run")["1"]["d"]) == single


def test_trec_eval_evaluates_the_printed_order(tmp_path):
    generator = random.Random(7)
    documents = {f"d{i}": generator.choice([3.0, 2.0, 1.99999999, 0.0]) for i in range(50)}
    write_run(tmp_path / "run", {"1": documents})
    printed = [line.split()[2] for line in (tmp_path / "run").read_text().splitlines()]
    for rank, docid in enumerate(printed, 1):
        evaluator = pytrec_eval.RelevanceEvaluator({"1": {docid: 1}}, {"recip_rank"})
        for run in ({"1": documents}, read_run(tmp_path / "run")):
            assert evaluator.evaluate(run)["1"]["recip_rank"] == pytest.approx(1 / rank)


@pytest.mark.parametrize(
    ("scores", "lowered"),
    [
        ([3.0, 2.0, 1.0], [3.0, 2.0, 1.0]),
        # Next to 16 singles are 1.9e-6 apart, next to 0 far less than 1e-7.
        ([16.0, 16.0, 1.0], [16.0, 15.9999981, 1.0]),
        ([0.0, 0.0, 0.0], [0.0, -1e-7, -2e-7]),
        # The second is pushed below the third, which then has to give way.
        ([1e-8, 1e-8, 0.0, -1.0], [1e-8, -9e-8, -1.9e-7, -1.0]),
        ([], []),
    ],
)
def test_ties_are_lowered_by_the_smallest_sensible_step(scores, lowered):
    made = strictly_decreasing(np.array(scores, dtype=np.float32))
    assert made.dtype == np.float32
    assert made.tolist() == pytest.approx(lowered, rel=1e-6)
    assert (made[1:] < made[:-1]).all()


UNWRITABLE = {
    "NaN": ({"1": {"a": 1.0, "b": float("nan")}}, {}, "query 1, document b: the score nan is not finite"),
    "infinity": ({"1": {"a": float("inf"), "b": 1.0}}, {}, "query 1, document a: the score inf is not finite"),
    "beyond singles": ({"1": {"a": 1e39}}, {}, r"query 1, document a: the score 1e\+39 is not finite in single"),
    "no room below": ({"1": {"a": -LARGEST, "b": -LARGEST}}, {}, "2 scores tie at -3.4028.*, and no finite single"),
    "space in docid": ({"1": {"a": 2.0, "b c": 1.0}}, {}, "the docid 'b c' has whitespace"),
    "line break in docid": ({"1": {"b\n": 1.0}}, {}, r"the docid 'b\\n' has whitespace"),
    "empty docid": ({"1": {"": 1.0}}, {}, "the docid is empty"),
    "empty docid beside one of two words": ({"1": {"a b": 2.0, "": 1.0}}, {}, "the docid 'a b' has whitespace"),
    "space in qid": ({"1 2": {"a": 1.0}}, {}, "the qid '1 2' has whitespace"),
    "empty qid": ({"": {"a": 1.0}}, {}, "the qid is empty"),
    "space in tag": ({"1": {"a": 1.0}}, {"tag": "my run"}, "the tag 'my run' has whitespace"),
    "empty tag": ({"1": {"a": 1.0}}, {"tag": ""}, "the tag is empty"),
    "unknown format": (
        {"1": {"a": 1.0}},
        {"output_format": "csv"},
        "unknown output format 'csv'; expected one of trec",
    ),
    "no hits": ({"1": {"a": 1.0}}, {"hits": 0}, "hits is 0; expected at least 1"),
}


@pytest.mark.parametrize(("run", "options", "fault"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, run, options, fault):
    path = tmp_path / "run"
    path.write_text("old")
    with pytest.raises(InputError, match=fault):
        write_run(path, {"0": {"x": 1.0}, **run}, **options)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_an_output_error():
    with pytest.raises(OutputError, match="No space left on device"):
        write_run("/dev/full", {"1": {f"d{i}": float(i) for i in range(10_000)}})


@pytest.mark.parametrize(
    ("name", "queries"),
    [
        *((f"run.dl20.{name}", 54) for name in ("bm25", "bm25-rm3", "splade-pp", "tas-b", "ada2", "repllama")),
        *((f"run.dl21.{name}", 53) for name in ("bm25", "bm25-rm3", "splade-pp")),
        *((f"run.dl22.{name}", 76) for name in ("bm25", "bm25-rm3", "splade-pp")),
    ],
)
def test_runs_of_the_test_collections(shared_data, tmp_path, name, queries):
    run = read_run(shared_data / "trec-dl" / "runs" / f"{name}.top100.txt")
    assert [len(documents) for documents in run.values()] == [100] * queries
    write_run(tmp_path / "run", run)
    again = read_run(tmp_path / "run")
    assert [(qid, list(documents)) for qid, documents in again.items()] == [
        (qid, list(documents)) for qid, documents in run.items()
    ]
