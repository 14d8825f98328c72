"""Tokens are the tokenizer's own, operations those of the formula."""

from __future__ import annotations

import pytest
from make_tiny_models import bert_tokenizer
from make_tiny_twins import make_tiny_twin

from reranker_kd.benchmark.network_cost import folder_bytes, network_cost
from reranker_kd.errors import ModelError
from reranker_kd.models.bert_bilstm import KIND, BertBiLSTM, BertBiLSTMShape

PAIRS = [("heat flow", "heat of a plate"), ("heat flow", "water and the river " * 20), ("dog", "heat of a plate")]
MAX_LENGTH = 32

# Of tests/make_tiny_models.py.
WIDTH, LAYERS, INNER = 32, 2, 64


def _lengths(*texts):
    return [
        len(bert_tokenizer()(*parts, truncation=True, max_length=MAX_LENGTH)["input_ids"])
        for parts in (text if isinstance(text, tuple) else (text,) for text in texts)
    ]


def _layers(length):
    """Projections of query, key, value and output, the two feed-forward products, scores and their weighted sum."""
    return LAYERS * (2 * length * (4 * WIDTH**2 + 2 * WIDTH * INNER) + 2 * 2 * length**2 * WIDTH)


def test_a_cross_encoder(cross_encoder_folder):
    cost = network_cost(cross_encoder_folder, PAIRS, MAX_LENGTH)
    lengths = _lengths(*PAIRS)
    assert max(lengths) == MAX_LENGTH
    assert cost.tokens == sum(lengths)
    # The pooler and the one label come once a pair.
    assert cost.operations == pytest.approx(sum(_layers(n) + 2 * (WIDTH**2 + WIDTH) for n in lengths))


def test_a_twin_encodes_each_distinct_text_once(tmp_path):
    cost = network_cost(make_tiny_twin(tmp_path / "twin"), PAIRS, MAX_LENGTH)
    lengths = _lengths(*dict.fromkeys(text for pair in PAIRS for text in pair))
    assert cost.tokens == sum(lengths)
    assert cost.operations == pytest.approx(sum(map(_layers, lengths)), rel=0.01)


def test_a_bert_bilstm_counts_its_lstms(tmp_path):
    shape = BertBiLSTMShape(vocabulary_size=len(bert_tokenizer()), embedding_size=16, hidden_size=24, attention_size=8)
    network = BertBiLSTM(shape)
    KIND.save(network, bert_tokenizer(), tmp_path / "bilstm")
    cost = network_cost(tmp_path / "bilstm", PAIRS, MAX_LENGTH)
    lstms = 2 * 2 * 4 * 24 * (16 + 24)
    # W1 and w2 of the attention, and the weighted sum.
    attention = 2 * 48 * 8 + 2 * 8 + 2 * 48
    classifier = 2 * 48 * 256 + 2 * 256
    assert cost.operations == pytest.approx(cost.tokens * (lstms + attention) + len(PAIRS) * classifier)
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_a_folder_without_weights_and_the_bytes_of_one(tmp_path):
    (tmp_path / "report").mkdir()
    for name, size in (("model.onnx", 7), ("config.json", 2), ("README.md", 100), (".hidden", 9), ("report/x", 50)):
        (tmp_path / name).write_bytes(b" " * size)
    assert folder_bytes(tmp_path) == 9
    with pytest.raises(ModelError):
        network_cost(tmp_path, PAIRS, MAX_LENGTH)
