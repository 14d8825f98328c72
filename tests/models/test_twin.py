"""TwinBERT's towers, poolings and crossings; folders that hold them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from make_tiny_models import bert_tokenizer, make_transformer
from make_tiny_twins import make_tiny_twin, tiny_twin
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from reranker_kd import load_reranker
from reranker_kd.errors import ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.models import own_layout
from reranker_kd.models.crossing import CosineCrossing, ResidualCrossing
from reranker_kd.models.pooling import WeightedPooling
from reranker_kd.models.twin import KIND as TWIN
from reranker_kd.models.twin import TwinShape, build

QUERIES = ["heat flow", "a shock wave"]
TEXTS = ["heat flow over a flat plate", "the dog and the cat"]

KINDS = [
    {"towers": towers, "pooling": pooling, "crossing": crossing}
    for towers in ("shared", "separate")
    for pooling in ("cls", "mean", "weighted")
    for crossing in ("cosine", "dot", "residual")
]


def _name(kind):
    return "-".join(kind.values())


def _embed_by_hand(tower, text):
    """Pool the vectors of one text's tokens, in numpy."""
    tokens = bert_tokenizer()(text, return_tensors="pt")
    with torch.inference_mode():
        vectors = tower.transformer(**tokens).last_hidden_state[0].numpy()
    if isinstance(tower.pooling, WeightedPooling):
        weights = np.exp(vectors @ tower.pooling.weigh.weight[0].detach().numpy() + tower.pooling.weigh.bias.item())
        return (weights[:, None] * vectors).sum(0) / weights.sum()
    return vectors[0] if tower.pooling.names == ("cls",) else vectors.mean(0)


def _linear(layer, x):
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


def _cross_by_hand(crossing, query, document):
    if not isinstance(crossing, CosineCrossing):
        return query @ document
    query, document = (vector / np.linalg.norm(vector) for vector in (query, document))
    cosine = query @ document
    if not isinstance(crossing, ResidualCrossing):
        return cosine
    x = np.maximum(query, document)
    residual = _linear(crossing.outer, np.maximum(_linear(crossing.inner, x), 0))
    logit = cosine * np.exp(crossing.log_scale.item()) + crossing.bias.item()
    return logit + crossing.classify.weight[0].detach().numpy() @ (residual + x)


def test_a_new_residual_crossing_ranks_by_the_cosine_and_learns():
    queries, documents = torch.randn(2, 20, 8).unbind()
    residual, cosine = ResidualCrossing(8), CosineCrossing()
    kept = [residual.prepare(each) for each in (queries, documents)]
    logits = residual.logits(residual(*kept))
    torch.testing.assert_close(logits, cosine.logits(cosine(*kept)))
    logits.square().sum().backward()
    # The last layer learns at once, and all others as soon as it is not 0.
    assert residual.classify.weight.grad.abs().min() > 0
    torch.nn.init.ones_(residual.classify.weight)
    residual(*kept).sum().backward()
    assert residual.inner.weight.grad.abs().max() > 0 and residual.outer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("architecture", ["bert", "albert"])
@pytest.mark.parametrize("kind", KINDS, ids=_name)
def test_scores_equal_the_papers_formulas(tmp_path, architecture, kind):
    twin = tiny_twin(architecture, **kind)
    TWIN.save(twin, bert_tokenizer(), tmp_path / "twin")
    expected = [
        _cross_by_hand(twin.crossing, _embed_by_hand(twin.query_tower, q), _embed_by_hand(twin.document_tower, t))
        for q in QUERIES
        for t in TEXTS
    ]
    scores = load_reranker(tmp_path / "twin", **REFERENCE).score_pairs([(q, t) for q in QUERIES for t in TEXTS])
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=_name)
def test_a_folder_gives_back_every_weight(tmp_path, kind):
    twin = tiny_twin(**kind)
    TWIN.save(twin, bert_tokenizer(), tmp_path)
    again = TWIN.load(tmp_path)
    assert again.shared == twin.shared == (kind["towers"] == "shared")
    assert again.shape == twin.shape
    saved, loaded = twin.state_dict(), again.state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_separate_towers_differ_and_shared_ones_do_not(tmp_path):
    shared = load_encoder(make_tiny_twin(tmp_path / "shared"), **REFERENCE)
    separate = load_encoder(make_tiny_twin(tmp_path / "separate", towers="separate"), **REFERENCE)
    np.testing.assert_allclose(shared.encode_queries(TEXTS), shared.encode_documents(TEXTS), atol=1e-6)
    assert np.abs(separate.encode_queries(TEXTS) - separate.encode_documents(TEXTS)).max() > 0.01


def test_padding_bears_on_no_embedding(tmp_path):
    for pooling in ("weighted", "mean", "cls"):
        encoder = load_encoder(make_tiny_twin(tmp_path / pooling, pooling=pooling), **REFERENCE)
        together = encoder.encode_documents([TEXTS[0], TEXTS[1] * 12])
        np.testing.assert_allclose(together[:1], encoder.encode_documents(TEXTS[:1]), atol=1e-5)


def test_queries_are_cut_shorter_than_documents(tmp_path):
    encoder = load_encoder(make_tiny_twin(tmp_path, max_query_length=8, max_length=20), **REFERENCE)
    words = "heat flow over a flat plate and the dog and the cat".split()
    np.testing.assert_allclose(
        encoder.encode_queries([" ".join(words)]), encoder.encode_queries([" ".join(words[:6])]), atol=1e-6
    )
    assert (
        np.abs(encoder.encode_documents([" ".join(words)]) - encoder.encode_documents([" ".join(words[:6])])).max()
        > 0.01
    )
    longer = load_encoder(tmp_path, max_length=64, **REFERENCE)
    assert (longer.max_query_length, longer.max_document_length) == (8, 64)


def test_a_sentence_transformers_model_is_the_cosine_twin(tmp_path):
    transformer = Transformer(str(make_transformer(tmp_path / "encoder")), max_seq_length=40)
    model = SentenceTransformer(modules=[transformer, Pooling(32), Normalize()], device="cpu")
    model.save_pretrained(str(tmp_path / "model"))
    twin = TWIN.load(tmp_path / "model")
    assert twin.shared
    assert twin.crossing.name == "cosine"
    np.testing.assert_allclose(
        load_encoder(tmp_path / "model", **REFERENCE).encode_queries(TEXTS), model.encode(TEXTS), atol=1e-5
    )


def test_a_sentence_transformers_model_can_be_saved_as_a_twin(tmp_path):
    transformer = Transformer(str(make_transformer(tmp_path / "encoder")), max_seq_length=40)
    model = SentenceTransformer(modules=[transformer, Pooling(32), Normalize()], device="cpu")
    model.save_pretrained(str(tmp_path / "model"))
    TWIN.save(TWIN.load(tmp_path / "model"), bert_tokenizer(), tmp_path / "twin")
    np.testing.assert_allclose(
        load_encoder(tmp_path / "twin", **REFERENCE).encode_documents(TEXTS), model.encode(TEXTS), atol=1e-5
    )


@pytest.mark.parametrize("kind", [{}, {"crossing": "dot", "pooling": "cls", "query_prompt": "query: "}], ids=str)
def test_sentence_transformers_opens_a_twin_and_gives_the_same_vectors(tmp_path, kind):
    make_tiny_twin(tmp_path, max_length=64, **kind)
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    ours = load_encoder(tmp_path, **REFERENCE)
    np.testing.assert_allclose(ours.encode_documents(TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(ours.encode_queries(QUERIES), theirs.encode_query(QUERIES), atol=1e-5)
    assert theirs.max_seq_length == 64


def test_a_folder_of_an_earlier_version_opens(tmp_path):
    twin = tiny_twin(max_query_length=8, max_length=20)
    own_layout.save(TWIN, twin, bert_tokenizer(), tmp_path)
    config = {"towers": "shared", "pooling": "mean", "crossing": "cosine", "query_prompt": "", "document_prompt": ""}
    lengths = {"max_query_length": 8, "max_document_length": 20}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "twin", **config, **lengths}))
    assert TWIN.load(tmp_path).shape == twin.shape


def test_cosine_logits_are_scaled_cosines():
    crossing = CosineCrossing(scale=5.0, bias=-1.0)
    torch.testing.assert_close(crossing.logits(torch.tensor([0.5, -1.0])), torch.tensor([1.5, -6.0]))


def _break_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"crossing": "euclid"}, "config.json: crossing: Input should be 'cosine', 'dot' or 'residual'"),
        ({"pool": "mean"}, "config.json: pool: is not a key that is known here"),
        ({"pooling": "median"}, "no pooling 'median'; known: weighted, cls"),
        ({"crossing": "residual"}, "the weights do not fit config.json: weight crossing"),
        ({"towers": "separate"}, "query: holds no weights"),
        ({"max_query_length": 0}, "max_query_length: Input should be greater than or equal to 4"),
    ],
)
def test_broken_folders_are_named(tmp_path, changes, fault):
    make_tiny_twin(tmp_path, pooling="weighted")
    _break_config(tmp_path, **changes)
    with pytest.raises(ModelError, match=fault) as caught:
        load_reranker(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_and_broken_heads(tmp_path):
    make_tiny_twin(tmp_path, pooling="weighted")
    (tmp_path / "heads.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"heads\.safetensors: cannot be loaded"):
        load_reranker(tmp_path)


def test_towers_of_different_widths():
    narrow, wide = tiny_twin().query_tower.transformer, tiny_twin().query_tower.transformer
    wide.config.hidden_size = 48

    class Start:
        def transformer(self, shape, name):
            return {"query": narrow, "document": wide}[name]

    with pytest.raises(ModelError, match="different widths"):
        build(TwinShape(towers="separate"), Start())
