"""The first stage's scores beside the model's: as fusion has them, by the weight asked for or the model's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_students import make_student

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.errors import ModelError
from reranker_kd.export.exporting import ExportSettings, export_model
from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.kinds import KINDS
from reranker_kd.rerank.base import Reranker
from reranker_kd.retrieve.fusion import fuse
from reranker_kd.types import Candidate, Query, in_rank_order

SCORE = st.floats(-100, 100, width=16)


class Table(Reranker):
    """Scores a text by the number that it is."""

    def __init__(self, interpolate=0.0):
        self.interpolate = interpolate

    def score_pairs(self, pairs):
        return np.array([float(text) for _, text in pairs], dtype=np.float32)


def _candidates(both):
    return [Candidate(f"d{place}", first, str(model)) for place, (first, model) in enumerate(both)]


def _run(ranking):
    return {candidate.docid: candidate.score for candidate in ranking}


@given(
    lists=st.lists(st.lists(st.tuples(SCORE, SCORE), min_size=2, max_size=8), min_size=1, max_size=4),
    weight=st.floats(0.1, 3),
)
def test_scores_are_those_of_fusion_by_z_scores(lists, weight):
    requests = [(Query(str(i), "q"), _candidates(both)) for i, both in enumerate(lists)]
    rankings = Table(weight).rerank_batch(requests).rankings
    first = {q.qid: in_rank_order({c.docid: c.score for c in candidates}) for q, candidates in requests}
    model = {q.qid: in_rank_order({c.docid: float(c.text) for c in candidates}) for q, candidates in requests}
    fused = fuse([model, first], "zscore", weights=[1, weight])
    for ranking in rankings:
        if len(set(first[ranking.query.qid].values())) > 1:
            expected = fused[ranking.query.qid]
            assert _run(ranking) == pytest.approx({docid: expected[docid] for docid in _run(ranking)}, abs=1e-4)


def test_texts_that_no_first_stage_scored_keep_the_models_scores():
    ranking = Table(0.5).rank("q", ["1", "3", "2"])
    assert [(hit.docid, hit.score) for hit in ranking] == [("1", 3.0), ("2", 2.0), ("0", 1.0)]


def test_below_the_depth_nothing_is_interpolated():
    candidates = _candidates([(9.0, 1.0), (8.0, 2.0), (7.0, 50.0)])
    ranking = Table(0.1).rerank("q", candidates, depth=2)
    assert [hit.docid for hit in ranking] == ["d1", "d0", "d2"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_models_own_weight_is_kept_in_its_folder_and_gives_way_to_the_one_asked_for(kind, tmp_path):
    folder = make_student(tmp_path / "model", kind, interpolate=0.25)
    own = load_reranker(folder, **REFERENCE)
    assert (own.interpolate, own.describe()["interpolate"]) == (0.25, 0.25)
    assert load_reranker(folder, interpolate=0.0, **REFERENCE).interpolate == 0.0
    candidates = [Candidate("a", 3.0, "heat flow"), Candidate("b", 1.0, "a dog"), Candidate("c", 0.5, "shock wave")]
    alone = load_reranker(folder, interpolate=0.0, **REFERENCE).rerank("heat", candidates)
    assert _run(own.rerank("heat", candidates)) != pytest.approx(_run(alone))


def test_an_export_keeps_the_weight(tmp_path):
    pytest.importorskip("openvino")
    folder = make_student(tmp_path / "model", "gated-cross-encoder", interpolate=0.25)
    pairs = [("heat", text) for text in ("flow", "a dog", "shock wave", "heat flow")]
    export_model(folder, tmp_path / "export", ExportSettings("openvino", "float32"), pairs, "here")
    assert load_reranker(tmp_path / "export").interpolate == 0.25


def test_a_negative_weight_is_refused():
    with pytest.raises(ModelError, match="interpolate"):
        load_reranker("tiny", interpolate=-1)


def test_the_command_line_takes_a_weight_and_provenance_names_it(tmp_path):
    (tmp_path / "topics.tsv").write_text("q1\theat flow\n", encoding="utf-8")
    (tmp_path / "docs.jsonl").write_text(
        '{"id": "a", "contents": "a dog"}\n{"id": "b", "contents": "heat flow over a plate"}\n', encoding="utf-8"
    )
    (tmp_path / "run.txt").write_text("q1 Q0 a 1 9 bm25\nq1 Q0 b 2 1 bm25\n", encoding="utf-8")
    scores = {}
    for weight in ("0", "100"):
        files = {"--candidates": "run.txt", "--topics": "topics.tsv", "--collection": "docs.jsonl"}
        arguments = [part for name, file in files.items() for part in (name, str(tmp_path / file))]
        output = tmp_path / f"run.{weight}.txt"
        with pytest.raises(SystemExit, match="0"):
            main(["rerank", *arguments, "--model", "tiny", "--interpolate", weight, "--output", str(output), "--quiet"])
        record = json.loads((tmp_path / f"run.{weight}.txt.provenance.json").read_text(encoding="utf-8"))
        assert record["model"].get("interpolate", 0) == float(weight)
        scores[weight] = output.read_text(encoding="utf-8").split()[2]
    assert scores == {"0": "b", "100": "a"}
