"""Scores on disk: found again to the bit, written side by side, whole after a kill, the same however often begun."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

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
        company = pair_keys([(query + text, "") for query, text in pairs]).tobytes()
        return np.arange(len(pairs), dtype=np.float32) + float(sum(company))


def test_unknown_pairs_are_nan_and_known_ones_come_back_to_the_bit(tmp_path):
    cache = ScoreCache(tmp_path, KEY)
    scores = np.random.default_rng(0).normal(size=50).astype(np.float32)
    assert np.isnan(cache.lookup(PAIRS)).all()
    cache.add(PAIRS[:20], scores[:20])
    cache.add(PAIRS[20:30], scores[20:30])
    for opened in (cache, ScoreCache(tmp_path, KEY)):
        found = opened.lookup(PAIRS[::-1])[::-1]
        assert found.dtype == np.float32
        assert found[:30].tobytes() == scores[:30].tobytes()
        assert np.isnan(found[30:]).all()
    assert cache.lookup([]).shape == (0,)


def test_texts_are_told_apart_where_they_are_parted(tmp_path):
    cache = ScoreCache(tmp_path, KEY)
    cache.add([("ab", "c")], [1.0])
    assert np.isnan(cache.lookup([("a", "bc"), ("abc", ""), ("", "abc"), ("c", "ab")])).all()
    # What JSON may hold and UTF-8 may not.
    cache.add([("\ud800", "\u00e9")], [2.0])
    assert cache.lookup([("\ud800", "\u00e9")]).tolist() == [2.0]


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.integers(0, 30), st.floats(-9, 9, width=32), min_size=1), max_size=12))
def test_a_cache_is_a_dictionary_in_which_the_first_score_stands(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("cache")
    cache = ScoreCache(folder, KEY)
    expected: dict[int, float] = {}
    for part in parts:
        cache.add([("q", str(i)) for i in part], list(part.values()))
        expected = {**part, **expected}
    for opened in (cache, ScoreCache(folder, KEY)):
        found = opened.lookup([("q", str(i)) for i in range(31)])
        np.testing.assert_array_equal(found, np.float32([expected.get(i, np.nan) for i in range(31)]))


def test_scorers_have_caches_of_their_own(tmp_path):
    first = ScoreCache(tmp_path, {"max_length": 200, "name": "é"})
    first.add(PAIRS[:1], [1.0])
    assert np.isnan(ScoreCache(tmp_path, {"max_length": 256, "name": "é"}).lookup(PAIRS[:1])).all()
    # The order of keys is no difference.
    again = ScoreCache(tmp_path, {"name": "é", "max_length": 200})
    assert again.lookup(PAIRS[:1]).tolist() == [1.0]
    assert (again.folder / "scorer.json").read_text("utf-8") == '{\n  "max_length": 200,\n  "name": "é"\n}\n'


@pytest.mark.parametrize("scores", [[1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]]])
def test_only_one_finite_score_a_pair_is_taken(tmp_path, scores):
    cache = ScoreCache(tmp_path, KEY)
    with pytest.raises(InputError, match=r"give one of each pair|is not finite"):
        cache.add(PAIRS[:2], scores)
    assert not list(cache.folder.glob("part-*"))


@pytest.mark.parametrize("damage", ["cut", "emptied", "other", "pickled", "unsorted", "nan"])
def test_a_broken_part_is_named(tmp_path, damage):
    cache = ScoreCache(tmp_path, KEY)
    cache.add(PAIRS, np.arange(50))
    (part,) = cache.folder.glob("part-*.npy")
    whole = np.load(part)
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-7])
    elif damage == "emptied":
        part.write_bytes(b"")
    elif damage == "other":
        np.save(part, np.arange(4.0))
    elif damage == "pickled":
        np.save(part, np.array([{}], dtype=object), allow_pickle=True)
    elif damage == "unsorted":
        np.save(part, whole[::-1])
    else:
        whole["score"][3] = np.nan
        np.save(part, whole)
    with pytest.raises(InputError, match=r"part-00000001\.npy: broken part .*: remove it"):
        ScoreCache(tmp_path, KEY)
    part.unlink()
    assert np.isnan(ScoreCache(tmp_path, KEY).lookup(PAIRS)).all()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        ScoreCache(tmp_path / "file", KEY)


def test_processes_write_side_by_side(tmp_path):
    program = """
import sys
from reranker_kd.distill.teachers.score_cache import ScoreCache
cache = ScoreCache(sys.argv[1], {"shared": True})
who = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for i in range(40):
    # The pair of number 0 is scored by everybody.
    cache.add([("own", f"{who}-{i}"), ("everybody's", f"{i}")], [who * 1000 + i, who])
print(*cache.lookup([("everybody's", f"{i}") for i in range(40)]).tolist())
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
    assert len(list(cache.folder.glob("part-*.npy"))) == 80
    for who in (1, 2):
        own = cache.lookup([("own", f"{who}-{i}") for i in range(40)])
        assert own.tolist() == [who * 1000 + i for i in range(40)]
    # Both saw the score that stands.
    standing = cache.lookup([("everybody's", f"{i}") for i in range(40)]).tolist()
    assert [[float(word) for word in line.split()] for line in printed] == [standing, standing]


def test_each_distinct_pair_is_scored_once_and_only_where_it_is_missing(tmp_path):
    cache = ScoreCache(tmp_path, KEY)
    cache.add(PAIRS[10:20], np.arange(10))
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
            ScoreCache(folder, KEY).add([PAIRS[i] for i in sorted(known)], np.arange(len(known)))
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
                other.add(PAIRS[16:32], np.arange(16))
            return super().score_pairs(pairs)

    reranker = Overtaken()
    done: list[float] = []
    scores = cached_scores(reranker, PAIRS, ScoreCache(tmp_path, KEY), block=16, on_progress=done.append)
    assert reranker.scored == PAIRS[:16] + PAIRS[32:]
    assert scores[16:32].tolist() == list(range(16))
    assert sum(done) == len(PAIRS)


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
        while len(_parts(killed)) < 3 and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    saved = {path.name: path.stat().st_ino for path in _parts(killed)}
    assert 3 <= len(saved) < 10
    # What a kill in the middle of a write leaves.
    (killed.folder / ".part").write_bytes(b"half")

    resumed = cached_scores(reranker, pairs, killed, block=8)
    expected = cached_scores(reranker, pairs, whole, block=8)

    assert resumed.tobytes() == expected.tobytes()
    assert {path.name: path.read_bytes() for path in _parts(killed)} == {
        path.name: path.read_bytes() for path in _parts(whole)
    }
    # What was saved was not scored again.
    assert saved.items() <= {path.name: path.stat().st_ino for path in _parts(killed)}.items()
    np.testing.assert_allclose(resumed, reranker.score_documents(pairs).scores, atol=1e-4)


def _parts(cache: ScoreCache) -> list[Path]:
    return sorted(cache.folder.glob("part-*.npy"))
