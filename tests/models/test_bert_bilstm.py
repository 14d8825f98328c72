"""Scores are those of a bidirectional LSTM over each row's tokens alone; folders; embeddings out of a BERT's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_models import bert_tokenizer
from make_tiny_students import make_bert_bilstm, tiny_bert_bilstm
from safetensors.torch import load_file, save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reranker_kd.errors import ModelError, RecipeError
from reranker_kd.models.bert_bilstm import KIND, BertBiLSTM, BertBiLSTMShape, build


@pytest.fixture(autouse=True)
def _one_thread():
    # Networks as tiny as these wait longer for a second thread, on a busy machine, than they compute.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SHAPES = [{}, {"layers": 2}, {"segments": False}]


def _batch(lengths, *, seed=0, padding=0):
    """Random rows, with random tokens as padding: a score that reads them would change with it."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths) + padding)
    ids = torch.randint(5, 60, shape, generator=generator)
    types = torch.randint(0, 2, shape, generator=generator)
    mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def _texts(lengths, padding=0):
    """The same, the first third of each row a query and the rest a document."""
    batch = _batch(lengths, padding=padding)
    ends = torch.tensor(lengths)[:, None] / 3
    return {**batch, "token_type_ids": (torch.arange(batch["input_ids"].shape[1]) >= ends).long()}


def _row(batch, row, length):
    return {name: array[row : row + 1, :length] for name, array in batch.items()}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), padding=st.integers(0, 5), seed=st.integers(0, 9))
def test_a_row_alone_scores_as_in_a_padded_batch(shape, lengths, padding, seed):
    network = tiny_bert_bilstm(**shape)
    batch = _batch(lengths, seed=seed, padding=padding)
    with torch.inference_mode():
        together = network(**batch)
        alone = torch.cat([network(**_row(batch, row, length)) for row, length in enumerate(lengths)])
    assert together.shape == (len(lengths), 1)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def _states_by_packing(network, states, lengths):
    """The states of torch's own bidirectional LSTMs with the same weights, batch first."""
    shape = network.shape
    for ahead, back in zip(network.forwards, network.backwards, strict=True):
        lstm = torch.nn.LSTM(ahead.input_size, shape.hidden_size, bidirectional=True, batch_first=True)
        forward, backward = ahead.state_dict(), back.state_dict()
        weights = forward | {f"{name}_reverse": value for name, value in backward.items()}
        lstm.load_state_dict(weights)
        packed = pack_padded_sequence(states, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        states = pad_packed_sequence(lstm(packed)[0], batch_first=True)[0]
    return states


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_a_packed_bidirectional_lstm_and_attention_by_hand(shape):
    network = tiny_bert_bilstm(**shape)
    lengths = [7, 3, 9, 1]
    batch = _batch(lengths)
    with torch.inference_mode():
        embedded = network.words.weight[batch["input_ids"]]
        if network.segments is not None:
            embedded = embedded + network.segments.weight[batch["token_type_ids"]]
        states = _states_by_packing(network, embedded, lengths)
        expected = []
        for row, length in zip(states, lengths, strict=True):
            weights = network.pooling.weigh(network.pooling.inner(row[:length]).tanh()).exp()
            expected.append(network.classifier((weights * row[:length]).sum(0) / weights.sum()))
        scores = network(**batch)
    assert torch.stack(expected).std() > 0.01
    torch.testing.assert_close(scores, torch.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_reach_every_weight_and_do_not_depend_on_the_padding(shape):
    network = tiny_bert_bilstm(**shape)
    lengths = [7, 3, 9]
    batch = _batch(lengths, padding=4)
    rows = [_row(batch, row, length) for row, length in enumerate(lengths)]
    parameters = dict(network.named_parameters())
    together = torch.autograd.grad(network(**batch).sum(), parameters.values())
    alone = torch.autograd.grad(sum(network(**row).sum() for row in rows), parameters.values())
    for name, one, other in zip(parameters, together, alone, strict=True):
        assert one.abs().max() > 1e-6, name
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


def test_in_training_dropout_changes_scores():
    network = tiny_bert_bilstm(dropout=0.5).train()
    batch = _batch([5, 5])
    assert not torch.equal(network(**batch), network(**batch))


def test_in_bfloat16_scores_keep_float32s_resolution():
    network, lowered = tiny_bert_bilstm(), tiny_bert_bilstm()
    lowered.lower_precision(torch.bfloat16)
    batch = _batch([9, 4, 12])
    with torch.inference_mode():
        expected, scores = network(**batch), lowered(**batch)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, rtol=0, atol=0.03)
    assert (scores != scores.bfloat16().float()).any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 16, 19, 24])
def test_in_bfloat16_each_row_has_its_own_score(shape, rows):
    network, lowered = tiny_bert_bilstm(**shape), tiny_bert_bilstm(**shape)
    lowered.lower_precision(torch.bfloat16)
    batch = _batch([3 + row % 7 for row in range(rows)])
    with torch.inference_mode():
        expected, scores = network(**batch), lowered(**batch)
    torch.testing.assert_close(scores, expected, rtol=0, atol=0.03)


def test_segments_without_token_types_are_refused():
    batch = _batch([4])
    del batch["token_type_ids"]
    with pytest.raises(ModelError, match="there are no token_type_ids"):
        tiny_bert_bilstm()(**batch)


class TestEmbeddings:
    TABLE = torch.randn((60, 16), generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 3, 16)

    def _network(self, **settings):
        start = SimpleNamespace(word_embeddings=lambda: self.TABLE)
        return build(BertBiLSTMShape(**settings), start)

    def test_at_full_width_they_are_the_table(self):
        assert torch.equal(self._network(embedding_size=16).words.weight, self.TABLE)
        assert not torch.equal(self._network(embedding_size=16, random=True).words.weight, self.TABLE)

    @pytest.mark.parametrize("width", [1, 5, 15])
    def test_reduced_they_keep_the_best_inner_products(self, width):
        left, singular, right = np.linalg.svd(self.TABLE.numpy(), full_matrices=False)
        best = (left[:, :width] * singular[:width]) @ right[:width]
        reduced = self._network(embedding_size=width).words.weight.detach().numpy()
        np.testing.assert_allclose(reduced @ reduced.T, best @ best.T, atol=1e-3)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(RecipeError, match=r"student\.embedding_size: 17 is wider than the 16"):
            self._network(embedding_size=17)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_saved_network_is_the_same_to_the_bit(tmp_path, shape):
    network = tiny_bert_bilstm(**shape)
    KIND.save(network.train(), bert_tokenizer(), tmp_path / "model")
    loaded = KIND.load(tmp_path / "model")
    assert loaded.shape == network.shape
    assert not loaded.training
    batch = _batch([8, 5])
    with torch.inference_mode():
        assert torch.equal(loaded(**batch), network.eval()(**batch))


def test_a_tokenizer_with_more_pieces_is_refused(tmp_path):
    network = BertBiLSTM(BertBiLSTMShape(vocabulary_size=20, embedding_size=4, hidden_size=4))
    with pytest.raises(ModelError, match="vocabulary_size is 20, but the tokenizer has"):
        KIND.save(network, bert_tokenizer(), tmp_path / "model")


WRONG = [
    ("hidden_size", 0, "hidden_size: Input should be greater than or equal to 1"),
    ("hidden_size", "ten", "hidden_size: Input should be a valid integer"),
    ("layers", 1.5, "layers: Input should be a valid integer"),
    ("dropout", 1, "dropout: Input should be less than 1"),
    ("dropout", None, "dropout: Input should be a valid number"),
    ("segments", "blue", "segments: Input should be a valid boolean"),
    ("model_type", "bert", "model_type is 'bert', expected 'bert-bilstm'"),
    ("colour", "red", "colour: is not a key that is known here"),
    ("vocabulary_size", None, "config.json lacks vocabulary_size"),
]


class TestBrokenFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        return make_bert_bilstm(tmp_path / "model")

    @pytest.mark.parametrize(("key", "value", "fault"), WRONG)
    def test_a_wrong_value(self, folder, key, value, fault):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        with pytest.raises(ModelError, match=fault) as error:
            KIND.load(folder)
        assert "\n" not in str(error.value)

    def test_weights_of_another_shape(self, folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "attention_size": 7}))
        with pytest.raises(ModelError, match=r"weight pooling.inner.bias has shape \(6,\), expected \(7,\)"):
            KIND.load(folder)

    def test_a_missing_weight(self, folder):
        weights = load_file(folder / "model.safetensors")
        del weights["words.weight"]
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(ModelError, match=r"weight words\.weight is missing"):
            KIND.load(folder)

    def test_half_a_weights_file(self, folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ModelError, match=r"model\.safetensors: cannot be loaded"):
            KIND.load(folder)

    def test_no_weights(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelError, match="holds no weights"):
            KIND.load(folder)


def test_matching_begins_as_late_interaction_of_the_word_embeddings():
    batch = _texts([9])
    network = BertBiLSTM(BertBiLSTMShape(vocabulary_size=64, embedding_size=8, hidden_size=6, matching=True)).eval()
    with torch.inference_mode():
        unit = torch.nn.functional.normalize(network.words(batch["input_ids"][0]), dim=1)
        query, document = unit[:3], unit[3:]
        matches = (12 * query @ document.T).logsumexp(1) / 12
        expected = 13 * matches.mean() - 0.8 * 13
        assert network(**batch).item() == pytest.approx(expected.item(), abs=1e-4)


@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=6), padding=st.integers(0, 5))
def test_a_row_matches_alone_as_in_a_padded_batch(lengths, padding):
    network = tiny_bert_bilstm(matching=True)
    batch = _texts(lengths, padding)
    with torch.inference_mode():
        together = network(**batch)
        alone = torch.cat([network(**_row(batch, row, length)) for row, length in enumerate(lengths)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_matching_needs_token_types():
    batch = {name: array for name, array in _texts([6]).items() if name != "token_type_ids"}
    with pytest.raises(ModelError, match="token_type_ids"):
        tiny_bert_bilstm(matching=True, segments=False)(**batch)
