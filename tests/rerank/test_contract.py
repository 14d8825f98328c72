"""What every reranker holds to, over every name of the registry and every kind of folder."""

from __future__ import annotations

import numpy as np
import pytest
from make_tiny_models import make_cross_encoder
from make_tiny_students import make_student
from make_tiny_twins import make_tiny_twin

from reranker_kd import Reranker, load_reranker
from reranker_kd.errors import CandidateError, ModelError
from reranker_kd.export.exporting import ExportSettings, export_model
from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.kinds import KINDS
from reranker_kd.rerank.registry import registered_names
from reranker_kd.types import Candidate, Query, rank_order

TEXTS = ["heat flow over a flat plate", "the dog and the cat", "shock wave " * 400, "flat plate heat", "?"]


def _kinds() -> list[str]:
    folders = ["bert", "distilbert", "roberta", "residual-twin", *(f"student {name}" for name in KINDS)]
    backends = ["openvino", "onnxruntime", "exported bert", "exported tiny-twin"]
    return [*registered_names(), *folders, *backends]


@pytest.fixture(scope="module", params=_kinds())
def reranker(request, tmp_path_factory) -> Reranker:
    if request.param in registered_names():
        return load_reranker(request.param, **REFERENCE)
    folder = tmp_path_factory.mktemp("models") / request.param
    if request.param.startswith("student "):
        return load_reranker(make_student(folder, request.param.removeprefix("student ")), **REFERENCE)
    match request.param:
        case "openvino" | "onnxruntime":
            pytest.importorskip(request.param)
            return load_reranker(make_cross_encoder(folder), backend=request.param, precision="float32")
        case "exported bert" | "exported tiny-twin":
            pytest.importorskip("openvino")
            source = make_cross_encoder(folder) if request.param.endswith("bert") else make_tiny_twin(folder)
            pairs = [("heat flow", text) for text in TEXTS]
            export_model(source, folder.with_name("export"), ExportSettings("openvino", "float32"), pairs, "here")
            return load_reranker(folder.with_name("export"))
        case "residual-twin":
            return load_reranker(
                make_tiny_twin(folder, towers="separate", pooling="weighted", crossing="residual"), **REFERENCE
            )
    return load_reranker(make_cross_encoder(folder, request.param), **REFERENCE)


def _candidates(texts):
    return [Candidate(f"d{i}", 10.0 - i, text) for i, text in enumerate(texts)]


def test_scores_are_finite_singles_in_the_callers_order(reranker):
    scores = reranker.score("heat flow", TEXTS)
    assert scores.dtype == np.float32
    assert scores.shape == (len(TEXTS),)
    assert np.isfinite(scores).all()
    pairs = [("heat flow", text) for text in TEXTS]
    np.testing.assert_allclose(scores, reranker.score_pairs(pairs), atol=1e-5)
    np.testing.assert_allclose(scores[::-1], reranker.score("heat flow", TEXTS[::-1]), atol=1e-5)


def test_no_pairs_give_no_scores(reranker):
    assert reranker.score_pairs([]).shape == (0,)
    assert reranker.rerank("heat flow", []).candidates == ()


def test_rerank_sorts_by_score(reranker):
    ranking = reranker.rerank(Query("q1", "heat flow"), _candidates(TEXTS))
    scores = [candidate.score for candidate in ranking.candidates]
    assert scores == sorted(scores, reverse=True)
    assert {candidate.docid for candidate in ranking.candidates} == {f"d{i}" for i in range(len(TEXTS))}
    assert ranking.query.qid == "q1"


def test_candidates_below_the_depth_keep_their_order_after_the_others(reranker):
    untouched = [Candidate("x", 3.0), Candidate("a", 2.0), Candidate("m", 1.0)]
    ranking = reranker.rerank("heat flow", [*_candidates(TEXTS[:2]), *untouched], depth=2)
    assert [candidate.docid for candidate in ranking.candidates[2:]] == ["x", "a", "m"]
    docids = [candidate.docid for candidate in ranking.candidates]
    assert rank_order(docids, [candidate.score for candidate in ranking.candidates]) == list(range(5))


def test_pooled_queries_are_ranked_as_alone(reranker):
    requests = [(Query("1", "heat flow"), _candidates(TEXTS)), (Query("2", "a dog"), _candidates(TEXTS[:3]))]
    together = reranker.rerank_batch(requests)
    for (query, candidates), ranking in zip(requests, together.rankings, strict=True):
        alone = reranker.rerank(query, candidates)
        assert [c.docid for c in ranking.candidates] == [c.docid for c in alone.candidates]
    assert together.counts.pairs == 8


def test_equal_scores_are_ordered_by_docid_descending(reranker):
    same = [Candidate(docid, 1.0, "heat flow") for docid in ("b", "c", "a")]
    assert [candidate.docid for candidate in reranker.rerank("plate", same).candidates] == ["c", "b", "a"]


def test_description_is_json_with_a_hash(reranker):
    assert len(reranker.describe()["sha256"]) == 64


@pytest.mark.parametrize(
    ("query", "candidates", "fault"),
    [
        (" ", [Candidate("d", 1.0, "text")], "its text is empty"),
        ("q", [Candidate("d", 1.0, " ")], "'d' is empty"),
        ("q", [Candidate("d", 1.0)], "without its text"),
        ("q", [Candidate("d", 1.0, "a"), Candidate("d", 0.5, "b")], "stands twice"),
    ],
)
def test_bad_candidates_are_named(reranker, query, candidates, fault):
    with pytest.raises(CandidateError, match=fault):
        reranker.rerank(query, candidates)


class _Broken(Reranker):
    def __init__(self, scores):
        self.scores = scores

    def score_pairs(self, pairs):
        return self.scores


@pytest.mark.parametrize("scores", [[1.0], [1.0, float("nan")], [[1.0], [2.0]]])
def test_a_reranker_that_breaks_the_contract_is_caught(scores):
    with pytest.raises(ModelError, match="_Broken: gave"):
        _Broken(scores).rerank("q", _candidates(["a", "b"]))
