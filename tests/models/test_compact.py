"""Compact weights: close to what they were, a quarter of the bytes, loaded by every kind of model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from make_tiny_models import make_cross_encoder
from make_tiny_students import make_bert_bilstm
from make_tiny_twins import make_tiny_twin

from reranker_kd import load_reranker
from reranker_kd.errors import ModelError, OutputError
from reranker_kd.models.compact import COMPACT_WEIGHTS, compact, compact_folder, expanded

PAIRS = [("heat flow", "heat flow over a flat plate"), ("a dog", "the dog and the cat"), ("shock", "supersonic wave")]


def test_a_weight_moves_by_at_most_half_a_step():
    torch.manual_seed(0)
    matrix = torch.randn(50, 64) * torch.logspace(-3, 2, 50)[:, None]
    matrix[7] = 0
    matrix[9, 3] = 1000
    weights = {"matrix": matrix, "bias": torch.randn(64), "small": torch.randn(3, 4)}
    small = compact(weights)
    assert small["matrix"].dtype == torch.int8
    back = expanded(small)
    assert back.keys() == weights.keys()
    assert torch.equal(back["bias"], weights["bias"])
    assert torch.equal(back["small"], weights["small"])
    for half in (slice(0, 32), slice(32, 64)):
        # float16 scales may be off by a 2048th, which the largest steps feel most.
        steps = matrix[:, half].abs().amax(dim=1, keepdim=True) / 127
        assert ((back["matrix"] - matrix)[:, half].abs() <= steps * 0.57).all()
    assert torch.equal(back["matrix"][7], matrix[7])
    odd = expanded(compact({"odd": matrix[:, :33]}))["odd"]
    torch.testing.assert_close(odd, matrix[:, :33], rtol=0, atol=1000 / 127 / 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: make_cross_encoder(folder, "bert"),
        lambda folder: make_cross_encoder(folder, "distilbert"),
        lambda folder: make_tiny_twin(folder, towers="separate", crossing="residual"),
        lambda folder: make_tiny_twin(folder, "albert"),
        make_bert_bilstm,
    ],
    ids=["bert", "distilbert", "twin", "albert-twin", "bert-bilstm"],
)
def test_every_kind_loads_and_scores_nearly_the_same(tmp_path, make):
    make(tmp_path / "model")
    compact_folder(tmp_path / "model", tmp_path / "compact")
    exact, close = (load_reranker(tmp_path / name).score_pairs(PAIRS) for name in ("model", "compact"))
    assert not np.array_equal(exact, close)
    np.testing.assert_allclose(close, exact, atol=0.05 * max(1.0, np.abs(exact).max()))
    assert not list((tmp_path / "compact").rglob("model.safetensors"))


def test_a_broken_file_is_named(tmp_path):
    make_cross_encoder(tmp_path / "model", "bert")
    compact_folder(tmp_path / "model", tmp_path / "compact")
    (tmp_path / "compact" / COMPACT_WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(ModelError, match=rf"{COMPACT_WEIGHTS}: cannot be loaded"):
        load_reranker(tmp_path / "compact")


def test_a_folder_in_the_way_is_left_alone(tmp_path):
    make_cross_encoder(tmp_path / "model", "bert")
    (tmp_path / "compact").mkdir()
    with pytest.raises(OutputError, match="is there already"):
        compact_folder(tmp_path / "model", tmp_path / "compact")
