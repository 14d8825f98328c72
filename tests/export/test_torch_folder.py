"""Exports for torch: a folder like the model's own, its weights in another precision, loaded by every kind of model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from make_tiny_models import make_cross_encoder
from make_tiny_students import make_bert_bilstm
from make_tiny_twins import make_tiny_twin
from safetensors.torch import load_file

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.errors import ModelError
from reranker_kd.export.exporting import ExportSettings, export_model
from reranker_kd.export.torch_folder import write_torch_folder
from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.compact import WEIGHTS

PAIRS = [("heat flow", "heat flow over a flat plate"), ("a dog", "the dog and the cat"), ("shock", "supersonic wave")]
KINDS = {
    "bert": lambda folder: make_cross_encoder(folder, "bert"),
    "distilbert": lambda folder: make_cross_encoder(folder, "distilbert"),
    "twin": lambda folder: make_tiny_twin(folder, towers="separate", crossing="residual"),
    "albert-twin": lambda folder: make_tiny_twin(folder, "albert"),
    "bert-bilstm": make_bert_bilstm,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads_and_scores_nearly_the_same(tmp_path, kind):
    source = KINDS[kind](tmp_path / "model")
    exact = load_reranker(source, **REFERENCE).score_pairs(PAIRS)
    for precision, name, share in (
        ("bfloat16", WEIGHTS, 0.05),
        ("int6", "model.int6.safetensors", 0.2),
        ("int8", "model.int8.safetensors", 0.05),
    ):
        write_torch_folder(source, tmp_path / precision, precision)
        close = load_reranker(tmp_path / precision, **REFERENCE).score_pairs(PAIRS)
        assert not np.array_equal(exact, close)
        np.testing.assert_allclose(close, exact, atol=share * max(1.0, np.abs(exact).max()))
        assert {path.name for path in (tmp_path / precision).rglob("model*.safetensors")} == {name}
    # What is compact is as float32 what it is already.
    write_torch_folder(tmp_path / "int8", tmp_path / "float32", "float32")
    np.testing.assert_array_equal(load_reranker(tmp_path / "float32", **REFERENCE).score_pairs(PAIRS), close)


def test_the_command_writes_what_transformers_opens(tmp_path, capsys):
    make_cross_encoder(tmp_path / "model", "bert")
    command = f"export --model {tmp_path}/model --output {tmp_path}/half --format torch --precision bf16 --pairs 16"
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    said = capsys.readouterr().err
    assert ended.value.code == 0, said
    assert "model as torch in bfloat16; on 8 pairs, it ranks as in float32 by a Kendall's tau of" in said
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "half")
    assert network.dtype == torch.bfloat16
    halves, whole = (load_file(tmp_path / name / WEIGHTS) for name in ("half", "model"))
    assert all(torch.equal(halves[name], value.bfloat16()) for name, value in whole.items())
    assert not (tmp_path / "half" / "export.json").exists()


def test_a_broken_file_is_named(tmp_path):
    make_cross_encoder(tmp_path / "model", "bert")
    write_torch_folder(tmp_path / "model", tmp_path / "compact", "int8")
    (tmp_path / "compact" / "model.int8.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"model\.int8\.safetensors: cannot be loaded"):
        load_reranker(tmp_path / "compact", **REFERENCE)


def test_weights_in_several_files_become_one(tmp_path):
    make_cross_encoder(tmp_path / "model", "bert")
    expected = load_reranker(tmp_path / "model", **REFERENCE).score_pairs(PAIRS)
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(tmp_path / "model" / WEIGHTS), "shard.safetensors")}
    (tmp_path / "model" / WEIGHTS).rename(tmp_path / "model" / "shard.safetensors")
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    export_model(tmp_path / "model", tmp_path / "whole", ExportSettings("torch", "float32"), PAIRS, "here")
    assert {path.name for path in (tmp_path / "whole").glob("*.safetensors*")} == {WEIGHTS}
    scores = load_reranker(tmp_path / "whole", **REFERENCE).score_pairs(PAIRS)
    np.testing.assert_array_equal(scores, expected)


def test_it_is_said_what_else_opens_a_folder(tmp_path):
    opens = {
        name: write_torch_folder(KINDS[name](tmp_path / name), tmp_path / f"{name}-out", "float32") for name in KINDS
    }
    assert opens["bert"] == "transformers, sentence-transformers' CrossEncoder"
    assert opens["albert-twin"] == "sentence-transformers"
    assert opens["twin"] == opens["bert-bilstm"] == ""
