from __future__ import annotations

import contextlib
import io
import os
import sys

import pytest

from reranker_kd.progress import PlainProgress, progress_bar


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_plain_lines_come_every_interval_and_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress("reranking", 1000, "pairs", stream, interval=10.0, clock=clock)
    for _ in range(10):
        clock.seconds += 4.0
        progress.advance(100)
    progress.write_line()
    # 25 pairs a second; a line at 12, 24 and 36 seconds, as none comes within 10 seconds of the one before.
    assert stream.getvalue().splitlines() == [
        "reranking: 300/1000 pairs, 25.0 pairs/s, 0:00:12 elapsed, 0:00:28 left",
        "reranking: 600/1000 pairs, 25.0 pairs/s, 0:00:24 elapsed, 0:00:16 left",
        "reranking: 900/1000 pairs, 25.0 pairs/s, 0:00:36 elapsed, 0:00:04 left",
        "reranking: 1000/1000 pairs, 25.0 pairs/s, 0:00:40 elapsed",
    ]


def test_what_was_done_before_bears_on_no_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress("training", 1000, "pairs", stream, interval=10.0, clock=clock)
    progress.resume(600)
    clock.seconds += 10.0
    progress.advance(100)
    assert stream.getvalue() == "training: 700/1000 pairs, 10.0 pairs/s, 0:00:10 elapsed, 0:00:30 left\n"


def test_plain_line_before_any_work() -> None:
    stream = io.StringIO()
    PlainProgress("reranking", 5, "pairs", stream, clock=Clock()).write_line()
    assert stream.getvalue() == "reranking: 0/5 pairs, 0.0 pairs/s, 0:00:00 elapsed\n"


def test_no_control_codes_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("encoding", 3, "documents") as progress:
        for _ in range(3):
            progress.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("encoding: 3/3 documents, ")
    assert captured.err.count("\n") == 1
    assert captured.err.rstrip("\n").isprintable()


def test_last_plain_line_tells_where_an_error_struck() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), progress_bar("encoding", 3, "documents", stream=stream) as progress:
        progress.advance(2)
        raise RuntimeError
    assert stream.getvalue().startswith("encoding: 2/3 documents")


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("encoding", 3, "documents", quiet=True) as progress:
        progress.advance(3)
    assert capsys.readouterr() == ("", "")


def _all_that_was_written(reader: io.RawIOBase) -> str:
    chunks = []
    # A closed terminal ends with an error on Linux, with nothing elsewhere.
    with contextlib.suppress(OSError):
        while chunk := reader.read(100_000):
            chunks.append(chunk)
    return b"".join(chunks).decode()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this platform has no pseudo-terminals")
def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import termios

    monkeypatch.setenv("TERM", "xterm")
    ours, terminal = os.openpty()
    # The default is a window of no rows and columns.
    termios.tcsetwinsize(terminal, (24, 120))
    with os.fdopen(ours, "rb", buffering=0) as reader:
        with (
            os.fdopen(terminal, "w") as stream,
            progress_bar("reranking [all]", 40, "pairs", stream=stream) as progress,
        ):
            progress.advance(40)
            print("data", file=sys.stdout)
        shown = _all_that_was_written(reader)
    for part in ("\r", "reranking [all]", "40/40", "pairs/s", "00:00 elapsed", "left"):
        assert part in shown
    assert capsys.readouterr() == ("data\n", ""), "what goes to stdout stays there"


def test_an_unknown_total_shows_what_is_done() -> None:
    stream = io.StringIO()
    with progress_bar("indexing", None, "documents", stream=stream) as progress:
        progress.advance(3)
    assert stream.getvalue().startswith("indexing: 3 documents, ")


def test_shares_of_a_unit_add_up() -> None:
    stream = io.StringIO()
    with progress_bar("reranking", 3, "pairs", stream=stream) as progress:
        for _ in range(9):
            progress.advance(1 / 3)
    line = stream.getvalue()
    assert line.startswith("reranking: 3/3 pairs, ")
    assert "left" not in line
