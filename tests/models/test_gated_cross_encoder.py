"""With shut gates it compares the tokens of its bi-encoder; open ones let query and document see each other."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from make_tiny_models import bert_tokenizer
from make_tiny_twins import make_tiny_twin

from reranker_kd import load_reranker
from reranker_kd.distill.students import build_student
from reranker_kd.errors import ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.gated_cross_encoder import KIND, GatedCrossEncoder, GatedCrossEncoderShape
from reranker_kd.models.twin import KIND as TWIN

PAIRS = [
    ("heat flow", "heat flow over a flat plate"),
    ("a dog and a cat by the sea", "shock"),
    ("shock wave", "supersonic shock wave " * 9),
]


def _model(folder, gate):
    transformer = TWIN.load(make_tiny_twin(folder)).document_tower.transformer
    torch.manual_seed(1)
    shape = GatedCrossEncoderShape(max_length=64, gate=gate)
    return GatedCrossEncoder(shape, transformer, scale=5.0, sharpness=7.0).eval()


def test_shut_gates_compare_the_tokens_of_the_bi_encoder(tmp_path):
    model = _model(tmp_path / "twin", gate=-1e9)
    KIND.save(model, bert_tokenizer(), tmp_path / "gated")
    transformer = TWIN.load(tmp_path / "twin").document_tower.transformer

    def vectors(text):
        with torch.inference_mode():
            states = transformer(**bert_tokenizer()(text, return_tensors="pt", truncation=True, max_length=40))
        return [row / row.norm() for row in states.last_hidden_state[0]]

    for pair, score in zip(
        PAIRS[:2], load_reranker(tmp_path / "gated", **REFERENCE).score_pairs(PAIRS[:2]), strict=True
    ):
        query, document = map(vectors, pair)
        matches = [math.log(sum(math.exp(7 * float(q @ d)) for d in document)) / 7 for q in query]
        assert score == pytest.approx(5 * (sum(matches) / len(matches) - 0.8), abs=1e-4)


def test_weights_of_query_tokens_are_learnt(tmp_path):
    model = _model(tmp_path / "twin", gate=-1e9)
    tokens = bert_tokenizer()("heat flow", "a flat plate", return_tensors="pt")
    model(**tokens).sum().backward()
    assert model.importance.weight.grad.abs().max() > 0
    with torch.no_grad():
        before = model(**tokens)
        torch.nn.init.normal_(model.importance.weight)
        assert abs(model(**tokens) - before) > 1e-4


def test_open_gates_change_the_score_and_learn(tmp_path):
    shut, wide = (_model(tmp_path / str(gate), gate) for gate in (-1e9, 0.0))
    KIND.save(shut, bert_tokenizer(), tmp_path / "shut")
    KIND.save(wide, bert_tokenizer(), tmp_path / "wide")
    scores = [load_reranker(tmp_path / name, **REFERENCE).score_pairs(PAIRS) for name in ("shut", "wide")]
    assert np.abs(scores[0] - scores[1]).max() > 0.01
    tokens = bert_tokenizer()("heat flow", "a flat plate", return_tensors="pt")
    wide(**tokens).sum().backward()
    assert (wide.gates.grad.abs() > 0).all()


@pytest.mark.parametrize("gate", [-4.0, 0.0])
def test_padding_bears_on_no_score(tmp_path, gate):
    KIND.save(_model(tmp_path / "twin", gate), bert_tokenizer(), tmp_path / "gated")
    reranker = load_reranker(tmp_path / "gated", **REFERENCE)
    alone = [float(reranker.score_pairs([pair])[0]) for pair in PAIRS]
    np.testing.assert_allclose(reranker.score_pairs(PAIRS), alone, atol=1e-5)


def test_a_folder_gives_back_every_weight(tmp_path):
    model = _model(tmp_path / "twin", -1.0)
    torch.nn.init.normal_(model.importance.weight)
    KIND.save(model, bert_tokenizer(), tmp_path / "gated")
    again = KIND.load(tmp_path / "gated").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_a_student_starts_with_gates_that_are_nearly_shut(tmp_path):
    make_tiny_twin(tmp_path / "twin")
    settings = GatedCrossEncoderShape(start=str(tmp_path / "twin"), max_length=64)
    student = build_student(settings, 0)
    student.save(tmp_path / "student")
    torch.nn.init.constant_(student.network.gates, -1e9)
    student.save(tmp_path / "shut")
    scores, shut = (load_reranker(tmp_path / name, **REFERENCE).score_pairs(PAIRS) for name in ("student", "shut"))
    # Nearly, not wholly: a gate without any gradient would never open.
    assert 0 < np.abs(scores - shut).max() < 0.1 * np.ptp(shut)


def test_broken_folders_are_named(tmp_path):
    KIND.save(_model(tmp_path / "twin", -1.0), bert_tokenizer(), tmp_path / "gated")
    config = json.loads((tmp_path / "gated" / "config.json").read_text())
    (tmp_path / "gated" / "config.json").write_text(json.dumps(config | {"gates": 1}))
    with pytest.raises(ModelError, match=r"config\.json: gates: is not a key"):
        load_reranker(tmp_path / "gated", **REFERENCE)
    (tmp_path / "gated" / "config.json").write_text(json.dumps(config))
    (tmp_path / "gated" / "heads.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"heads\.safetensors: cannot be loaded"):
        load_reranker(tmp_path / "gated", **REFERENCE)
