"""Students are what their settings say, and what is saved scores as what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from make_tiny_models import bert_tokenizer, make_cross_encoder, make_transformer
from make_tiny_students import make_bert_bilstm
from make_tiny_twins import make_tiny_twin
from pydantic import TypeAdapter, ValidationError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reranker_kd import load_reranker
from reranker_kd.distill.students import build_student
from reranker_kd.errors import ModelError, RecipeError
from reranker_kd.inference.batching import padded
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.pair_tokenizer import FRAMINGS
from reranker_kd.models.kinds import KINDS, AnyShape, token_encoder_of
from reranker_kd.models.twin import KIND as TWIN

QUERY = "how does heat flow"
TEXTS = ["heat flow over a flat plate", "the dog and the cat", "supersonic shock wave", "tax law court"]


def make_bi_encoder(folder: Path) -> Path:
    """Save a bi-encoder as sentence-transformers lays it out."""
    make_transformer(folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starts")
    return {
        "bi-encoder": make_bi_encoder(folder / "bi-encoder"),
        "cross-encoder": make_cross_encoder(folder / "cross-encoder"),
        "twin": make_tiny_twin(folder / "twin"),
        "separate twin": make_tiny_twin(folder / "separate", towers="separate"),
        "roberta": make_cross_encoder(folder / "roberta", "roberta"),
        "transformer": make_transformer(folder / "transformer"),
    }


def built(folder, kind="cross-encoder", seed=0, **settings):
    return build_student(KINDS[kind].shape(start=str(folder), **{"max_length": 48} | settings), seed)


@torch.no_grad()
def _train_a_little(student):
    """Move every weight, so that none is what a new network has."""
    torch.manual_seed(1)
    for parameter in student.network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))


@torch.no_grad()
def scores_of(student):
    """Return the network's own scores, in the way that it is trained."""
    network, framed = student.network.eval(), FRAMINGS[student.kind.framing](student.tokenizer)
    query, *texts = framed.encode([QUERY, *TEXTS])

    def run(part, sequences):
        arrays = {name: torch.from_numpy(array) for name, array in padded(sequences, framed.pad_id).items()}
        if not framed.has_types:
            del arrays["token_type_ids"]
        return part(**arrays)

    if student.kind.reads == "texts":
        crossing = network.crossing
        queries = crossing.prepare(run(network.query_tower, [framed.single(query)] * len(texts)))
        return crossing(queries, crossing.prepare(run(network.document_tower, [framed.single(ids) for ids in texts])))
    return run(network, [framed.pair(query, ids) for ids in texts])[:, 0]


VARIANTS = [
    ("cross-encoder", {}),
    ("cross-encoder", {"layers": 1, "embedding_size": 8}),
    ("cross-encoder", {"hidden_size": 16, "random": True}),
    ("twin", {}),
    ("twin", {"towers": "separate", "pooling": "weighted", "crossing": "residual", "max_query_length": 12}),
    ("twin", {"crossing": "dot", "embedding_size": 8, "layers": (2,)}),
    ("bert-bilstm", {"hidden_size": 10, "embedding_size": 12}),
    ("bert-bilstm", {"hidden_size": 10, "layers": 2, "random": True, "embedding_size": 20}),
    ("gated-cross-encoder", {}),
    ("splade", {"query_pieces": 20}),
]


def test_every_kind_is_tried():
    assert {kind for kind, _ in VARIANTS} == set(KINDS)


@pytest.mark.parametrize(("kind", "settings"), VARIANTS)
def test_a_saved_student_scores_as_the_network(tmp_path, starts, kind, settings):
    student = built(starts["bi-encoder"], kind, **settings)
    _train_a_little(student)
    expected = scores_of(student).numpy()
    student.save(tmp_path / "student")
    reranker = load_reranker(tmp_path / "student", **REFERENCE)
    assert expected.std() > 1e-4
    np.testing.assert_allclose(reranker.score(QUERY, TEXTS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_back_at_its_length(tmp_path, starts, kind):
    folder = tmp_path / "start"
    make_bi_encoder(folder)
    # Many a tokenizer says where its model was cut in training: that is no limit of the student.
    bert_tokenizer(model_max_length=20).save_pretrained(folder)
    built(folder, kind).save(tmp_path / "student")
    reranker = load_reranker(tmp_path / "student", **REFERENCE)
    assert getattr(reranker, "max_length", None) == 48 or reranker.encoder.max_document_length == 48


@pytest.mark.parametrize("start", ["bi-encoder", "cross-encoder", "twin", "separate twin", "transformer"])
@pytest.mark.parametrize("kind", ["cross-encoder", "twin"])
def test_a_student_starts_from_the_transformer_of_any_model(starts, kind, start):
    large = token_encoder_of(starts[start])
    student = built(starts[start], kind)
    small = student.encoder if kind == "cross-encoder" else student.network.document_tower.transformer
    weights = small.state_dict()
    for key, value in large.state_dict().items():
        assert torch.equal(weights[key], value), key


def test_of_a_separate_twin_the_document_tower_is_the_start(starts):
    student = built(starts["separate twin"], "twin", towers="separate")
    network = student.network
    both = [
        tower.transformer.embeddings.word_embeddings.weight for tower in (network.query_tower, network.document_tower)
    ]
    assert torch.equal(*both) and both[0] is not both[1]
    towers = TWIN.load(starts["separate twin"])
    assert torch.equal(both[0], towers.document_tower.transformer.embeddings.word_embeddings.weight)
    assert not torch.equal(both[0], towers.query_tower.transformer.embeddings.word_embeddings.weight)


@pytest.mark.parametrize("kind", ["cross-encoder", "twin", "gated-cross-encoder"])
def test_a_student_is_a_start(tmp_path, starts, kind):
    built(starts["bi-encoder"], kind, layers=1).save(tmp_path / "first")
    again = built(tmp_path / "first").encoder
    large = token_encoder_of(starts["bi-encoder"])
    assert len(again.encoder.layer) == 1
    for name in ("attention.self.query", "output.dense"):
        first, second = (model.encoder.layer[place].get_submodule(name) for model, place in ((again, 0), (large, 1)))
        assert torch.equal(first.weight, second.weight)


def test_a_roberta_start_makes_a_bert_student(tmp_path, starts):
    student = built(starts["roberta"])
    large = token_encoder_of(starts["roberta"]).eval()
    inputs = student.tokenizer([QUERY, *TEXTS], padding=True, return_tensors="pt")
    seen = inputs["attention_mask"].bool()
    with torch.no_grad():
        hidden = [network.eval()(**inputs).last_hidden_state[seen] for network in (student.encoder, large)]
    torch.testing.assert_close(*hidden, atol=1e-5, rtol=1e-5)
    student.save(tmp_path / "student")
    np.testing.assert_allclose(
        load_reranker(tmp_path / "student", **REFERENCE).score(QUERY, TEXTS),
        scores_of(student).numpy(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_plain_transformers_opens_a_factorised_student(tmp_path, starts):
    student = built(starts["cross-encoder"], embedding_size=8)
    student.save(tmp_path / "student")
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert type(network).__name__ == "ElectraForSequenceClassification"
    assert tokenizer.model_max_length == 48
    inputs = tokenizer([QUERY] * len(TEXTS), TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(network(**inputs).logits[:, 0], scores_of(student))


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_a_copied_head_makes_the_same_cross_encoder(tmp_path, architecture, labels):
    whole = make_cross_encoder(tmp_path / "whole", architecture, labels=labels)
    student = built(whole, head="copied")
    expected = load_reranker(whole, **REFERENCE).score(QUERY, TEXTS)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(scores_of(student).numpy(), expected, rtol=1e-4, atol=1e-5)
    student.save(tmp_path / "student")
    np.testing.assert_allclose(
        load_reranker(tmp_path / "student", **REFERENCE).score(QUERY, TEXTS), expected, rtol=1e-4, atol=1e-5
    )


def test_the_head_of_a_factorised_student_is_copied_too(tmp_path, starts):
    first = built(starts["cross-encoder"], embedding_size=8)
    first.save(tmp_path / "first")
    torch.testing.assert_close(scores_of(built(tmp_path / "first", head="copied")), scores_of(first))


@pytest.mark.parametrize(
    ("kind", "settings"), [(kind, settings) for kind, settings in VARIANTS if "random" not in settings]
)
def test_a_whole_model_goes_on_as_it_is(tmp_path, starts, kind, settings):
    first = built(starts["bi-encoder"], kind, **settings)
    _train_a_little(first)
    first.save(tmp_path / "first")
    shape = first.network.shape.model_dump(exclude={"kind", "start", "layers"})
    again = built(tmp_path / "first", kind, **{**shape, "head": "copied", "dropout": 0.25, "max_length": 40})
    torch.testing.assert_close(scores_of(again), scores_of(first))
    assert {module.p for module in again.network.modules() if isinstance(module, torch.nn.Dropout)} <= {0.25}
    again.save(tmp_path / "again")
    reranker = load_reranker(tmp_path / "again", **REFERENCE)
    np.testing.assert_allclose(reranker.score(QUERY, TEXTS), scores_of(first).numpy(), rtol=1e-4, atol=1e-5)
    assert getattr(reranker, "max_length", None) == 40 or reranker.encoder.max_document_length == 40


def test_a_whole_model_of_another_kind_or_shape_is_refused(tmp_path, starts):
    with pytest.raises(RecipeError, match=r"student\.head: copied takes a whole twin .* is a cross-encoder"):
        built(starts["cross-encoder"], "twin", head="copied")
    with pytest.raises(RecipeError, match=r"student\.crossing: dot is not the start's cosine"):
        built(starts["twin"], "twin", head="copied", crossing="dot")
    with pytest.raises(RecipeError, match=r"student\.max_length: 600 tokens do not fit"):
        built(starts["cross-encoder"], head="copied", max_length=600)


@pytest.mark.parametrize(("start", "settings"), [("bi-encoder", {}), ("cross-encoder", {"hidden_size": 16}),
                                                 ("cross-encoder", {"embedding_size": 8})])  # fmt: skip
def test_a_head_that_cannot_be_copied_is_refused(starts, start, settings):
    with pytest.raises(RecipeError, match=r"student\.head: "):
        built(starts[start], head="copied", **settings)


def same(one, two):
    weights = two.network.state_dict()
    return {key for key, value in one.network.state_dict().items() if torch.equal(value, weights[key])}


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_student(starts, kind):
    before = torch.get_rng_state()
    first, again = (built(starts["bi-encoder"], kind, seed=3) for _ in range(2))
    assert same(first, again) == set(first.network.state_dict())
    # Other draws than a student's are left as they were.
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_changes_what_is_new_alone(starts):
    first, other = (built(starts["bi-encoder"], seed=seed) for seed in (3, 4))
    equal = same(first, other)
    kept = ("classifier.bert.embeddings", "classifier.bert.encoder")
    assert {key for key in first.network.state_dict() if key.startswith(kept)} <= equal
    assert "classifier.classifier.weight" not in equal
    equal = same(*(built(starts["bi-encoder"], seed=seed, random=True) for seed in (3, 4)))
    assert not any(key.endswith("query.weight") for key in equal)


def test_random_students_have_the_vocabulary_alone(starts):
    large = token_encoder_of(starts["bi-encoder"])
    small = built(starts["bi-encoder"], random=True).encoder
    assert small.config.vocab_size == large.config.vocab_size
    assert not torch.equal(small.embeddings.word_embeddings.weight, large.embeddings.word_embeddings.weight)


def test_the_encoder_is_part_of_the_network(starts):
    for settings in ({}, {"embedding_size": 8}):
        student = built(starts["bi-encoder"], **settings)
        trained = {id(parameter) for parameter in student.network.parameters()}
        assert {id(parameter) for parameter in student.encoder.parameters()} <= trained
        assert student.parameters == sum(parameter.numel() for parameter in student.network.parameters())
    assert built(starts["bi-encoder"], "twin").encoder is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_dropout_is_what_was_asked_for(starts, kind, dropout):
    network = built(starts["bi-encoder"], kind, dropout=dropout).network
    assert {module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)} == {dropout}


def test_the_towers_are_one_or_two(starts):
    shared, separate = (built(starts["bi-encoder"], "twin", towers=towers) for towers in ("shared", "separate"))
    assert shared.network.shared and not separate.network.shared
    # But for the crossing's scale and bias.
    assert separate.parameters - 2 == 2 * (shared.parameters - 2)


def test_a_lstm_takes_the_word_embeddings(starts):
    table = token_encoder_of(starts["bi-encoder"]).get_input_embeddings().weight.detach()
    # 128 by default, and no more than there are.
    words = built(starts["bi-encoder"], "bert-bilstm").network.words.weight.detach()
    assert torch.equal(words, table)
    assert built(starts["bi-encoder"], "bert-bilstm", random=True).network.words.weight.shape == table.shape


@pytest.mark.parametrize(
    ("kind", "settings", "fault"),
    [
        ("cross-encoder", {"layers": 3}, r"student\.layers: 3 layers cannot be taken from a model of 2"),
        ("twin", {"hidden_size": 64}, r"student\.hidden_size: 64 is wider"),
        ("twin", {"max_query_length": 513}, r"student\.max_query_length: 513 tokens do not fit into the 512"),
    ],
)
def test_a_shape_that_cannot_be_is_named_by_its_key(starts, kind, settings, fault):
    with pytest.raises(RecipeError, match=fault):
        built(starts["bi-encoder"], kind, **settings)


def test_an_input_that_is_too_long_is_refused(starts):
    with pytest.raises(RecipeError, match=r"student\.max_length: 600 tokens do not fit into the 512 of "):
        built(starts["bi-encoder"], max_length=600)


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"kind": "twin", "pooling": "middle"}, "no pooling 'middle'; known: weighted, cls, "),
        ({"width": 8}, "width"),
        ({"towers": "separate"}, "towers"),
        ({"kind": "bert-bilstm", "heads": 2}, "heads"),
        ({"kind": "bert-bilstm", "layers": (1, 2)}, "layers"),
        ({"kind": "gated-cross-encoder", "crossing": "residual", "attention_size": 5}, "crossing"),
        ({"kind": "lstm"}, "no kind of model 'lstm'; known: cross-encoder, twin"),
        ({"start": ""}, "give the model whose vocabulary"),
    ],
)
def test_keys_that_a_kind_does_not_have_are_named(section, fault):
    with pytest.raises(ValidationError, match=fault):
        TypeAdapter(AnyShape).validate_python({"start": "x", **section})


def test_a_start_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ModelError, match="a bert-bilstm has no transformer to start from"):
        built(make_bert_bilstm(tmp_path / "lstm"))
    with pytest.raises(RecipeError, match=r"student\.start: a distilbert has not the layout of BERT"):
        built(make_cross_encoder(tmp_path / "distilbert", "distilbert"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        built(tmp_path / "empty")
    bert_tokenizer().save_pretrained(tmp_path / "empty")
    with pytest.raises(ModelError, match="holds no weights"):
        built(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is a file; name the folder"):
        built(tmp_path / "file")
