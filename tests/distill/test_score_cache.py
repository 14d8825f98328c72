"""Scores on disk: found again to the bit, written side by side, whole after a kill, the same however often begun."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_kd.distill.teachers.score_cache import ScoreCache, cached_scores, pair_keys
from reranker_kd.errors import InputError, ModelError, OutputError
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.registry import load_reranker

KEY = {"class": "tests.Scorer", "sha256": "0" * 64}
PAIRS = [(f"query {i % 7}", f"document {i}") for i in range(50)]


class BatchDependent(Reranker):
    """Scores that tell in which company a pair was scored, as the last bits of a network's do, and much louder."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.scored: list[tuple[str, str]] = []
        self._stop_after = stop_after

    def score_pairs(self, pairs):
        if self._stop_after is not None and len(self.scored) >= self._stop_after:
            raise KeyboardInterrupt
        self.scored += pairs
        company = b"".join(pair_keys([(query + text, "") for query, text in pairs]))
        return np.arange(len(pairs), dtype=np.float32) + float(sum(company))


def lookup(cache, pairs):
    """Return the scores of pairs, float32 (n,), NaN for those that are not known."""
    keys = pair_keys(pairs)
    found = cache.find(keys)
    return np.float32([found.get(key, np.nan) for key in keys])


def add(cache, pairs, scores):
    cache.store(pair_keys(pairs), [float(score) for score in scores])


def saved(cache):
    """Return what is in the database, by key."""
    with closing(sqlite3.connect(cache.folder / "scores.sqlite3")) as database:
        return dict(database.execute("SELECT key, score FROM scores"))


def test_unknown_pairs_are_nan_and_known_ones_come_back_to_the_bit(tmp_path):
    cache = ScoreCache(tmp_path, KEY)
    scores = np.random.default_rng(0).normal(size=50).astype(np.float32)
    assert np.isnan(lookup(cache, PAIRS)).all()
    add(cache, PAIRS[:20], scores[:20])
    add(cache, PAIRS[20:30], scores[20:30])
    for opened in (cache, ScoreCache(tmp_path, KEY)):
        found = lookup(opened, PAIRS[::-1])[::-1]
        assert found.dtype == np.float32
        assert found[:30].tobytes() == scores[:30].tobytes()
        assert np.isnan(found[30:]).all()
    assert lookup(cache, []).shape == (0,)


def test_texts_are_told_apart_where_they_are_parted(tmp_path):
    cache = ScoreCache(tmp_path, KEY)
    add(cache, [("ab", "c")], [1.0])
    assert np.isnan(lookup(cache, [("a", "bc"), ("abc", ""), ("", "abc"), ("c", "ab")])).all()
    # What JSON may hold and UTF-8 may not.
    add(cache, [("\ud800", "\u00e9")], [2.0])
    assert lookup(cache, [("\ud800", "\u00e9")]).tolist() == [2.0]


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.integers(0, 30), st.floats(-9, 9, width=32), min_size=1), max_size=12))
def test_a_cache_is_a_dictionary_in_which_the_first_score_stands(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("cache")
    cache = ScoreCache(folder, KEY)
    expected: dict[int, float] = {}
    for part in parts:
        add(cache, [("q", str(i)) for i in part], list(part.values()))
        expected = {**part, **expected}
    for opened in (cache, ScoreCache(folder, KEY)):
        found = lookup(opened, [("q", str(i)) for i in range(31)])
        np.testing.assert_array_equal(found, np.float32([expected.get(i, np.nan) for i in range(31)]))


def test_scorers_have_caches_of_their_own(tmp_path):
    first = ScoreCache(tmp_path, {"max_length": 200, "name": "é"})
    add(first, PAIRS[:1], [1.0])
    assert np.isnan(lookup(ScoreCache(tmp_path, {"max_length": 256, "name": "é"}), PAIRS[:1])).all()
    # The order of keys is no difference.
    again = ScoreCache(tmp_path, {"name": "é", "max_length": 200})
    assert lookup(again, PAIRS[:1]).tolist() == [1.0]
    assert (again.folder / "scorer.json").read_text("utf-8") == '{\n  "max_length": 200,\n  "name": "é"\n}\n'


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_broken_database_is_named(tmp_path, damage):
    cache = ScoreCache(tmp_path, KEY)
    add(cache, PAIRS, np.arange(50))
    database = cache.folder / "scores.sqlite3"
    database.write_bytes(database.read_bytes()[:-4096] if damage == "cut" else b"no database at all" * 100)
    with pytest.raises(InputError, match=r"scores\.sqlite3: broken score cache .*: remove it") as caught:
        lookup(ScoreCache(tmp_path, KEY), PAIRS)
    assert "\n" not in str(caught.value)
    database.unlink()
    assert np.isnan(lookup(ScoreCache(tmp_path, KEY), PAIRS)).all()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        ScoreCache(tmp_path / "file", KEY)


def test_processes_write_side_by_side(tmp_path):
    program = """
import sys
from reranker_kd.distill.teachers.score_cache import ScoreCache, pair_keys
cache = ScoreCache(sys.argv[1], {"shared": True})
who = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for i in range(40):
    # The pair of number 0 is scored by everybody.
    cache.store(pair_keys([("own", f"{who}-{i}"), ("everybody's", f"{i}")]), [who * 1000 + i, who])
everybodys = pair_keys([("everybody's", f"{i}") for i in range(40)])
found = cache.find(everybodys)
print(*[found[key] for key in everybodys])
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(who)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in (1, 2)
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    printed = [writer.communicate(timeout=120)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    cache = ScoreCache(tmp_path, {"shared": True})
    assert len(saved(cache)) == 120
    for who in (1, 2):
        own = lookup(cache, [("own", f"{who}-{i}") for i in range(40)])
        assert own.tolist() == [who * 1000 + i for i in range(40)]
    # Both saw the score that stands.
    standing = lookup(cache, [("everybody's", f"{i}") for i in range(40)]).tolist()
    assert [[float(word) for word in line.split()] for line in printed] == [standing, standing]


def test_each_distinct_pair_is_scored_once_and_only_where_it_is_missing(tmp_path):
    cache = ScoreCache(tmp_path, KEY)
    add(cache, PAIRS[10:20], np.arange(10))
    reranker = BatchDependent()
    done: list[float] = []
    asked = PAIRS + PAIRS[::2]
    scores = cached_scores(reranker, asked, cache, block=8, on_progress=done.append)
    assert reranker.scored == PAIRS[:10] + PAIRS[20:]
    assert sum(done) == len(asked)
    assert scores[10:20].tolist() == list(range(10))
    assert scores[50:].tobytes() == scores[:50:2].tobytes()
    again = BatchDependent()
    assert cached_scores(again, PAIRS, ScoreCache(tmp_path, KEY)).tobytes() == scores[:50].tobytes()
    assert again.scored == []


@settings(max_examples=20)
@given(
    known=st.sets(st.integers(0, 49)),
    stops=st.lists(st.integers(0, 40), max_size=4),
    block=st.integers(1, 20),
)
def test_scores_do_not_tell_where_the_scoring_was_interrupted(tmp_path_factory, known, stops, block):
    scores = []
    for interruptions in ([], stops):
        folder = tmp_path_factory.mktemp("cache")
        if known:
            add(ScoreCache(folder, KEY), [PAIRS[i] for i in sorted(known)], np.arange(len(known)))
        for stop in interruptions:
            try:
                cached_scores(BatchDependent(stop), PAIRS, ScoreCache(folder, KEY), block=block)
            except KeyboardInterrupt:
                continue
        scores.append(cached_scores(BatchDependent(), PAIRS, ScoreCache(folder, KEY), block=block).tobytes())
    assert scores[0] == scores[1]


def test_a_block_that_another_process_scored_meanwhile_is_taken(tmp_path):
    other = ScoreCache(tmp_path, KEY)

    class Overtaken(BatchDependent):
        def score_pairs(self, pairs):
            if not self.scored:
                add(other, PAIRS[16:32], np.arange(16))
            return super().score_pairs(pairs)

    reranker = Overtaken()
    done: list[float] = []
    scores = cached_scores(reranker, PAIRS, ScoreCache(tmp_path, KEY), block=16, on_progress=done.append)
    assert reranker.scored == PAIRS[:16] + PAIRS[32:]
    assert scores[16:32].tolist() == list(range(16))
    assert sum(done) == len(PAIRS)


def test_many_processes_may_open_a_new_cache_at_once(tmp_path):
    program = "import sys; from reranker_kd.distill.teachers.score_cache import ScoreCache; ScoreCache(sys.argv[1], {})"
    openers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(6)]
    assert [opener.wait(timeout=120) for opener in openers] == [0] * 6


def test_a_reranker_that_gives_no_number_is_named(tmp_path):
    class Broken(Reranker):
        def score_pairs(self, pairs):
            return np.full(len(pairs), np.nan)

    with pytest.raises(ModelError, match="Broken: gave"):
        cached_scores(Broken(), PAIRS, ScoreCache(tmp_path, KEY))


KILLED = """
import sys, time, torch
from pathlib import Path
from reranker_kd import load_reranker
from reranker_kd.distill.teachers.score_cache import ScoreCache, cached_scores
model, folder, threads, texts = sys.argv[1:]
torch.set_num_threads(int(threads))
pairs = [tuple(line.split("\\t")) for line in Path(texts).read_text().splitlines()]
reranker = load_reranker(model, batch_tokens=256)
cached_scores(reranker, pairs, ScoreCache(folder, reranker.describe()), block=8,
              on_progress=lambda _: time.sleep(0.1))
"""


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(tmp_path, cross_encoder_folder):
    import torch

    random = np.random.default_rng(0)
    words = np.array("heat flow water river sea dog cat house road money tax law court school bone age blood".split())
    texts = [" ".join(random.choice(words, random.integers(1, 20))) for _ in range(80)]
    pairs = [(texts[i % 20], text) for i, text in enumerate(texts)]
    (tmp_path / "texts").write_text("".join(f"{query}\t{text}\n" for query, text in pairs))
    reranker = load_reranker(cross_encoder_folder, batch_tokens=256)
    killed, whole = (ScoreCache(tmp_path / name, reranker.describe()) for name in ("killed", "whole"))
    arguments = [str(cross_encoder_folder), str(tmp_path / "killed"), str(torch.get_num_threads())]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments, str(tmp_path / "texts")])
    try:
        while len(saved(killed)) < 24 and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    kept = saved(killed)
    assert 24 <= len(kept) < 80 and len(kept) % 8 == 0

    scored = []
    resumed = cached_scores(reranker, pairs, killed, block=8, on_progress=scored.append)
    expected = cached_scores(reranker, pairs, whole, block=8)

    assert resumed.tobytes() == expected.tobytes()
    assert saved(killed) == saved(whole)
    # What was saved was not scored again.
    assert scored[0] == len(kept)
    np.testing.assert_allclose(resumed, reranker.score_documents(pairs).scores, atol=1e-4)
