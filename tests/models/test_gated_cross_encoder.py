"""With shut gates it is the bi-encoder that it came from; open ones let query and document see each other."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from make_tiny_models import bert_tokenizer
from make_tiny_twins import make_tiny_twin

from reranker_kd import load_reranker
from reranker_kd.distill.students import StudentSettings, build_student
from reranker_kd.errors import ModelError
from reranker_kd.models.gated_cross_encoder import (
    GatedCrossEncoder,
    GatedCrossEncoderConfig,
    load_gated_cross_encoder,
    save_gated_cross_encoder,
)
from reranker_kd.models.twin import load_twin

PAIRS = [
    ("heat flow", "heat flow over a flat plate"),
    ("a dog and a cat by the sea", "shock"),
    ("shock wave", "supersonic shock wave " * 9),
]


def _model(folder, gate):
    transformer = load_twin(make_tiny_twin(folder)).document_tower.transformer
    torch.manual_seed(1)
    return GatedCrossEncoder(GatedCrossEncoderConfig(max_length=64), transformer, gate=gate, scale=5.0).eval()


def test_shut_gates_give_the_bi_encoders_cosine(tmp_path):
    model = _model(tmp_path / "twin", gate=-1e9)
    save_gated_cross_encoder(model, bert_tokenizer(), tmp_path / "gated")
    cosines = load_reranker(tmp_path / "twin").score_pairs(PAIRS)
    assert np.std(cosines) > 0.01
    np.testing.assert_allclose(load_reranker(tmp_path / "gated").score_pairs(PAIRS), 5 * cosines, atol=1e-4)


def test_open_gates_change_the_score_and_learn(tmp_path):
    shut, wide = (_model(tmp_path / str(gate), gate) for gate in (-1e9, 0.0))
    save_gated_cross_encoder(shut, bert_tokenizer(), tmp_path / "shut")
    save_gated_cross_encoder(wide, bert_tokenizer(), tmp_path / "wide")
    scores = [load_reranker(tmp_path / name).score_pairs(PAIRS) for name in ("shut", "wide")]
    assert np.abs(scores[0] - scores[1]).max() > 0.01
    tokens = bert_tokenizer()("heat flow", "a flat plate", return_tensors="pt")
    wide(**tokens).sum().backward()
    assert (wide.gates.grad.abs() > 0).all()
    assert wide.correction[-1].weight.grad.abs().max() > 0


@pytest.mark.parametrize("gate", [-4.0, 0.0])
def test_padding_bears_on_no_score(tmp_path, gate):
    save_gated_cross_encoder(_model(tmp_path / "twin", gate), bert_tokenizer(), tmp_path / "gated")
    reranker = load_reranker(tmp_path / "gated")
    alone = [float(reranker.score_pairs([pair])[0]) for pair in PAIRS]
    np.testing.assert_allclose(reranker.score_pairs(PAIRS), alone, atol=1e-5)


def test_a_folder_gives_back_every_weight(tmp_path):
    model = _model(tmp_path / "twin", -1.0)
    torch.nn.init.normal_(model.correction[-1].weight)
    save_gated_cross_encoder(model, bert_tokenizer(), tmp_path / "gated")
    again = load_gated_cross_encoder(tmp_path / "gated").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_a_student_starts_as_its_bi_encoder(tmp_path):
    make_tiny_twin(tmp_path / "twin")
    settings = StudentSettings(kind="gated-cross-encoder", start=str(tmp_path / "twin"), max_length=64)
    build_student(settings, 0).save(tmp_path / "student")
    student = load_reranker(tmp_path / "student").score_pairs(PAIRS)
    cosines = load_reranker(tmp_path / "twin").score_pairs(PAIRS)
    # Nearly shut, not shut: a gate without any gradient would never open.
    assert np.corrcoef(student, cosines)[0, 1] > 0.9


def test_broken_folders_are_named(tmp_path):
    save_gated_cross_encoder(_model(tmp_path / "twin", -1.0), bert_tokenizer(), tmp_path / "gated")
    config = json.loads((tmp_path / "gated" / "config.json").read_text())
    (tmp_path / "gated" / "config.json").write_text(json.dumps(config | {"gates": 1}))
    with pytest.raises(ModelError, match=r"config\.json: gates: Extra inputs"):
        load_reranker(tmp_path / "gated")
    (tmp_path / "gated" / "config.json").write_text(json.dumps(config))
    (tmp_path / "gated" / "heads.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"heads\.safetensors: cannot be loaded"):
        load_reranker(tmp_path / "gated")
