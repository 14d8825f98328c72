"""Early stopping: when it stops, by hand; exact without a margin; its calibration against a naive replay."""

from __future__ import annotations

import json
import re
from math import inf, nan, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.cli.rerank import rerank
from reranker_kd.errors import CandidateError, InputError, ModelError
from reranker_kd.evaluate.evaluation import evaluate_run
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.cascade import Cascade, Stage
from reranker_kd.rerank.early_stopping import EarlyStopping, StoppingRule, calibrate, headroom
from reranker_kd.types import Candidate, Query, rank_order

PROJECT = Path(__file__).resolve().parents[2]


class Listed(Reranker):
    """Scores the text "3" as 3; keeps how many pairs each call had."""

    def __init__(self):
        self.calls = []

    def score_pairs(self, pairs):
        self.calls.append(len(pairs))
        return np.array([float(text) for _, text in pairs], dtype=np.float32)


def _request(scores, qid="q"):
    return Query(qid, "query"), [Candidate(f"d{i:03}", -i, str(score)) for i, score in enumerate(scores)]


def _docids(ranking):
    return [candidate.docid for candidate in ranking.candidates]


# The first ten tell all, then the scores fall off.
STEEP = [9, 8, 7, 6, 1, 0, 1, 0, 1, 0, 1, 0]


def test_headroom_by_hand():
    # A line through 4, 2, 3 falls by half a point a rank: 3.5, 3, 2.5, then 2; residuals 0.5, -1, 0.5.
    assert headroom(np.float32([4, 2, 3]), 1) == pytest.approx((4 - 2) / sqrt(1.5))
    assert headroom(np.float32([4, 2, 3]), 2) == pytest.approx((3 - 2) / sqrt(1.5))


def test_a_line_that_rises_counts_as_level():
    scores = np.float32([1, 2, 3, 4])
    assert headroom(scores, 1) == pytest.approx((4 - 2.5) / sqrt(5 / 2))


@pytest.mark.parametrize(
    ("scores", "top_k", "expected"),
    [([1, 2], 1, -inf), ([3, 2, 1], 4, -inf), ([1, 1, 1], 1, -inf), ([3, 2, 1], 1, inf)],
)
def test_headroom_at_the_limits(scores, top_k, expected):
    assert headroom(np.float32(scores), top_k) == expected


def test_it_stops_between_blocks_and_leaves_the_rest_below():
    model = Listed()
    done = []
    reranker = EarlyStopping(model, StoppingRule(top_k=2, margin=0.5, block=4))
    batch = reranker.rerank_batch([_request(STEEP)], on_progress=done.append)
    looks = [headroom(np.float32(STEEP[:n]), 2) for n in (4, 8)]
    assert looks[0] == inf  # 9, 8, 7, 6 lie on a line, and the next on it is 5.
    assert (batch.pairs, model.calls, sum(done)) == (4, [4], 12)
    ranking = batch.rankings[0]
    assert _docids(ranking) == [f"d{i:03}" for i in range(12)]
    assert [c.score for c in ranking.candidates] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1, -2]


def test_blocks_of_many_queries_are_scored_together():
    model = Listed()
    requests = [_request(STEEP, "1"), _request(list(range(10)), "2"), _request([], "3"), _request([1, 2], "4")]
    batch = EarlyStopping(model, StoppingRule(top_k=2, margin=3, block=4)).rerank_batch(requests)
    # The rising query is never settled: 4 + 4 + 0 + 2, then 4 and 2 of its own.
    assert model.calls == [10, 4, 2]
    assert batch.pairs == 16
    assert [ranking.query.qid for ranking in batch.rankings] == ["1", "2", "3", "4"]


def test_depth_bounds_what_is_scored():
    model = Listed()
    ranking = EarlyStopping(model, StoppingRule(top_k=2, margin=inf, block=4)).rerank(*_request(STEEP), depth=6)
    assert model.calls == [4, 2]
    assert len(ranking.candidates) == len(STEEP)
    beyond = EarlyStopping(Listed(), StoppingRule(margin=inf)).rerank(*_request(STEEP), depth=99)
    assert beyond == Listed().rerank(*_request(STEEP))


# Few values, so that there are ties.
_SCORES = st.lists(st.integers(-4, 4), max_size=40)


@given(st.lists(_SCORES, max_size=4), st.integers(1, 12), st.integers(1, 9))
def test_an_infinite_margin_is_exact(queries, top_k, block):
    requests = [_request(scores, str(place)) for place, scores in enumerate(queries)]
    stopping = EarlyStopping(Listed(), StoppingRule(top_k, inf, block)).rerank_batch(requests)
    assert stopping == Listed().rerank_batch(requests)


@given(_SCORES, st.floats(0, 3), st.integers(1, 9))
def test_what_is_scored_is_a_prefix_and_the_order_is_the_one_rule(scores, margin, block):
    query, candidates = _request(scores)
    batch = EarlyStopping(Listed(), StoppingRule(3, margin, block)).rerank_batch([(query, candidates)])
    docids = _docids(batch.rankings[0])
    assert docids == _docids(Listed().rerank(query, candidates, depth=batch.pairs))
    assert rank_order(docids, [c.score for c in batch.rankings[0].candidates]) == list(range(len(docids)))


@given(st.lists(_SCORES, min_size=1, max_size=6), st.integers(1, 6), st.integers(1, 9), st.floats(0, 1))
def test_calibration_holds_on_its_own_queries(queries, top_k, block, tolerance):
    requests = [_request(scores, str(place)) for place, scores in enumerate(queries)]
    fitted = calibrate(Listed(), requests, StoppingRule(top_k, 1.0, block), tolerance=tolerance)
    batch = EarlyStopping(Listed(), fitted.rule).rerank_batch(requests)
    full = Listed().rerank_batch(requests)
    changed = sum(
        set(_docids(one)[:top_k]) != set(_docids(other)[:top_k])
        for one, other in zip(batch.rankings, full.rankings, strict=True)
    )
    assert (fitted.changed, fitted.scored, fitted.candidates) == (changed, batch.pairs, full.pairs)
    assert changed <= tolerance * len(queries)


def test_calibration_takes_the_smallest_margin_that_will_do():
    # The best document comes last but one block, so any stop before it changes the top 1.
    late = [5, 1, 4, 0, 3, 1, 2, 0, 9, 0, 1, 0]
    fitted = calibrate(Listed(), [_request(late)], StoppingRule(top_k=1, block=4), tolerance=0)
    looks = [headroom(np.float32(late[:n]), 1) for n in (4, 8)]
    assert fitted.rule.margin == max(looks)
    assert fitted.changed == 0
    lower = StoppingRule(1, np.nextafter(max(looks), 0), 4)
    assert _docids(EarlyStopping(Listed(), lower).rerank(*_request(late)))[0] != "d008"


def test_wrong_rules_and_models():
    for rule in ({"top_k": 0}, {"block": 0}, {"margin": nan}):
        with pytest.raises(InputError, match="early stopping of the top"):
            StoppingRule(**rule)
    with pytest.raises(InputError, match="one model"):
        EarlyStopping(Cascade([Stage(Listed())]), StoppingRule())
    with pytest.raises(InputError, match="at least one"):
        calibrate(Listed(), [], StoppingRule())
    with pytest.raises(CandidateError, match="stands twice"):
        twice = [Candidate("d", 2.0, "1"), Candidate("e", 1.5, "1"), Candidate("d", 1.0, "1")]
        EarlyStopping(Listed(), StoppingRule(block=1)).rerank("q", twice)


def test_by_name_and_by_command(cross_encoder_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("docs.tsv").write_text("".join(f"d{i}\theat flow {'and drag ' * i}\n" for i in range(60)))
    Path("topics.tsv").write_text("1\theat\n2\tflow\n")
    Path("run.txt").write_text("".join(f"{q} Q0 d{i} {i + 1} {90 - i} x\n" for q in "12" for i in range(60)))
    command = ["rerank", "--candidates", "run.txt", "--topics", "topics.tsv", "--collection", "docs.tsv", "--quiet"]
    command += ["--model", str(cross_encoder_folder), "--output", "out.txt", "--early-stopping", "3"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--stopping-margin", "-9"])
    assert stopped.value.code == 0
    assert "out.txt: 40 pairs" in (said := capsys.readouterr().err)
    assert "80 left out" in said
    record = json.loads(Path("out.txt.provenance.json").read_text())
    assert record["model"]["early_stopping"] == {"top_k": 3, "margin": "-9.0", "block": 20}
    assert record["counts"]["pairs"] == 40
    with pytest.raises(SystemExit):
        main([*command, "--calibrate", "2"])
    assert "early stopping at a margin " in capsys.readouterr().err
    assert "changes the top 3 of 0" in json.loads(Path("out.txt.provenance.json").read_text())["calibration"]
    with pytest.raises(SystemExit) as stopped:
        main([*command[:-2], "--calibrate", "2"])
    assert stopped.value.code == 2
    with pytest.raises(ModelError, match="for a single model"):
        load_reranker(f"{cross_encoder_folder}:5", early_stopping=StoppingRule())


class Known(Reranker):
    """Gives the scores of a run; a pair is a qid and a docid."""

    def __init__(self, run):
        self.run = run

    def score_pairs(self, pairs):
        return np.array([self.run[qid][docid] for qid, docid in pairs], dtype=np.float32)


@pytest.fixture(scope="module", params=["21", "20"])
def collection(request, shared_data):
    """The year, the requests over BM25's candidates, the scores of all-MiniLM-L6-v2, and the qrels."""
    year = request.param
    first = read_run(shared_data / "trec-dl" / "runs" / f"run.dl{year}.bm25.top100.txt")
    reranked = read_run(PROJECT / "runs" / f"dl{year}-minilm" / "run.all-MiniLM-L6-v2.txt")
    requests = [(Query(q, q), [Candidate(d, s, d) for d, s in documents.items()]) for q, documents in first.items()]
    return year, requests, Known(reranked), read_qrels(shared_data / "trec-dl" / f"qrels.dl{year}.txt")


def _told_by_the_page() -> list[list[str]]:
    page = (PROJECT / "docs" / "doing-less.md").read_text(encoding="utf-8")
    return [
        [kind, value, *map(str.strip, cells.split("|"))]
        for kind, value, cells in re.findall(r"^\| (margin|depth) `(\S+)` \|(.*)\|$", page, re.MULTILINE)
    ]


def test_the_page_has_what_was_measured(collection):
    year, requests, model, qrels = collection
    full = model.rerank_batch(requests)
    rows = _told_by_the_page()
    assert len(rows) == 7
    for kind, value, *cells in rows:
        batch = (
            model.rerank_batch(requests, depth=int(value))
            if kind == "depth"
            else EarlyStopping(model, StoppingRule(margin=float(value))).rerank_batch(requests)
        )
        changed = sum(
            set(_docids(one)[:10]) != set(_docids(other)[:10])
            for one, other in zip(batch.rankings, full.rankings, strict=True)
        )
        run = {r.query.qid: {c.docid: c.score for c in r.candidates} for r in batch.rankings}
        measured = evaluate_run(run, qrels, parse_measures(["nDCG@10"])).means["nDCG@10"]
        told = cells[:3] if year == "21" else cells[3:]
        assert told == [f"{batch.pairs / full.pairs:.1%}", str(changed), f"{measured:.4f}"], (kind, value)


def test_the_default_margin_is_calibrated_on_dl21(collection):
    year, requests, model, _ = collection
    if year == "21":
        fitted = calibrate(model, requests, StoppingRule())
        assert StoppingRule().margin == round(fitted.rule.margin, 1)


def test_the_command_has_the_default_margin():
    margins = [option.default for option in rerank.params if option.name == "stopping_margin"]
    assert margins == [StoppingRule().margin]
