"""Arrow reads as the reader of lines does: files with Windows line ends are left to the latter."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats import runs
from reranker_kd.formats.runs import RunColumns, columns_of_run, read_run, read_run_columns
from reranker_kd.types import Run, rank_order, rank_order_of_lines

DOCIDS = st.sampled_from(
    ["d1", "d2", "d10", "D", "a-docid-of-more-than-eight-letters", "a-docid-of-more-than-eight-words"]
)
SCORES = st.one_of(
    st.floats(-3, 3).map(lambda score: round(score, 1)), st.floats(-1e30, 1e30), st.sampled_from([0.0, -0.0, 1e-40])
)
LINES = st.dictionaries(st.tuples(st.sampled_from("abc"), DOCIDS), SCORES, min_size=1).flatmap(
    lambda scores: st.permutations(list(scores.items()))
)
BLANKS = st.sampled_from([" ", " ", " ", "\t", "  ", " \t", "\u00a0", "\x1f", ""])
WORDS = st.sampled_from(
    ["q", "d", "7", "-1", "0x1F", "1_0", "2.5", "+2.5", "1e400", "nan", "inf", "1e3", ".5", "é", "", "٣"]
)


def _assert_same(columns: RunColumns, run: Run) -> None:
    assert list(columns.qids) == list(run)
    for qid, documents in run.items():
        assert list(columns.top(qid).items()) == list(documents.items())


@given(LINES)
def test_same_order_as_by_lines(tmp_path: Path, lines: list) -> None:
    text = "".join(f"{qid} Q0 {docid} 1 {score!r} tag\n" for (qid, docid), score in lines)
    path, by_lines = tmp_path / "run.txt", tmp_path / "run.windows.txt"
    path.write_text(text)
    by_lines.write_bytes(text.replace("\n", "\r\n").encode())
    run = read_run(by_lines)
    assert read_run(path) == run
    _assert_same(read_run_columns(path), run)
    _assert_same(columns_of_run({qid: dict(reversed(documents.items())) for qid, documents in run.items()}), run)


@given(st.lists(st.tuples(st.integers(0, 3), DOCIDS, SCORES), unique_by=lambda line: line[:2], max_size=20))
def test_one_rule_of_order(lines: list) -> None:
    query, docids, scores = (list(column) for column in zip(*lines, strict=True)) if lines else ([], [], [])
    found = rank_order_of_lines(np.array(query, dtype=np.int64), pa.array(docids, pa.string()), np.array(scores))
    expected = []
    for each in sorted(set(query)):
        places = [place for place, other in enumerate(query) if other == each]
        order = rank_order([docids[place] for place in places], [scores[place] for place in places])
        expected += [places[position] for position in order]
    assert found.to_pylist() == expected


@given(
    st.lists(st.lists(WORDS, min_size=5, max_size=7), min_size=1, max_size=3),
    BLANKS,
    st.sampled_from(["\n", "", "\r\n"]),
)
def test_same_faults_as_by_lines(tmp_path: Path, rows: list[list[str]], blank: str, end: str) -> None:
    path, by_lines = tmp_path / "run.txt", tmp_path / "run.windows.txt"
    text = "\n".join(blank.join(row) for row in rows)
    path.write_bytes(text.encode() + end.encode())
    by_lines.write_bytes(text.replace("\n", "\r\n").encode() + b"\r\n")
    try:
        run = read_run(by_lines)
    except FormatError as error:
        for read in (read_run, read_run_columns):
            with pytest.raises(FormatError) as raised:
                read(path)
            assert (raised.value.line, raised.value.fault) == (error.line, error.fault)
    else:
        assert read_run(path) == run
        _assert_same(read_run_columns(path), run)


GOOD = "q Q0 a 1 2.5 t\nq Q0 b 2 1.5 t\n"


@pytest.mark.parametrize(
    "content",
    [
        GOOD + "q Q0 a 3 1 t\n",
        GOOD + "q Q0 c 3 nan t\n",
        GOOD + "q Q0 c 3 1e39 t\n",
        GOOD + "q Q0 c x 1 t\n",
        GOOD + "q Q0 c 3 1\n",
        GOOD + " Q0 c 3 1 t\n",
        GOOD + "q Q0 c 3 1 \n",
        GOOD + "q  c 3 1 t\n",
        "",
        "\n",
    ],
)
def test_a_fault_is_told_in_the_same_words(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.txt"
    path.write_text(content)
    with pytest.raises(FormatError) as expected:
        read_run(path)
    with pytest.raises(FormatError) as raised:
        read_run_columns(path)
    assert str(raised.value) == str(expected.value)
    path.write_bytes(content.replace("\n", "\r\n").encode())
    with pytest.raises(FormatError) as by_lines:
        read_run(path)
    assert str(by_lines.value) == str(expected.value)


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode(),
        # Without the time, which would make another name of the test in each process.
        gzip.compress(GOOD.encode(), mtime=0),
        GOOD.replace(" ", "\t").encode(),
        GOOD.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.strip().encode(),
        "q Q0 Ä 1 2 t\nq Q0 Z 2 2 t\n".encode(),
        b"q\ta\t1\nq\tb\t2\n",
    ],
)
def test_what_is_taken(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run"
    path.write_bytes(content)
    _assert_same(read_run_columns(path), read_run(path))


def test_a_broken_gzip_stream_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(GOOD.encode() * 10)[:-12])
    with pytest.raises(FormatError, match="broken gzip stream"):
        read_run_columns(tmp_path / "cut.gz")
    with pytest.raises(InputError, match="cannot read"):
        read_run_columns(tmp_path / "absent")


def test_published_runs_are_read_by_arrow(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted((shared_data / "trec-dl" / "runs").glob("run.dl20.*.txt"))
    by_lines = [runs._read_lines(path, runs.raise_fault) for path in paths]
    monkeypatch.setattr(runs, "_read_lines", None)
    for path, run in zip(paths, by_lines, strict=True):
        assert read_run(path) == run
        _assert_same(read_run_columns(path), read_run(path))
