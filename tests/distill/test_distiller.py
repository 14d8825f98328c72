"""One loss out of many: each is what its own function gives for the scores and layers of single sequences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from make_tiny_models import bert_tokenizer, make_transformer
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel

from reranker_kd.distill.data.batches import GroupDataset, TextDataset
from reranker_kd.distill.data.transfer_set import Group, TransferSet
from reranker_kd.distill.methods import Stage
from reranker_kd.distill.objectives.recording import LayerTeacher
from reranker_kd.distill.objectives.registry import LOSSES, Loss
from reranker_kd.distill.students import build_student
from reranker_kd.distill.training.distiller import Distiller
from reranker_kd.errors import InputError, RecipeError
from reranker_kd.inference.pair_tokenizer import PairTokenizer
from reranker_kd.models.kinds import KINDS

TOKENIZER = bert_tokenizer()
FRAMED = PairTokenizer(TOKENIZER)
QUERIES = {"q1": "heat flow", "q2": "how does the supersonic shock wave do to a wing", "q3": "dog"}
DOCUMENTS = {
    "d1": "the dog and the cat",
    "d2": "heat",
    "d3": "the boundary layer of a flat plate is heat and flow and drag and lift " * 2,
    "d4": "a law of the court",
    "d5": "shock wave pressure " * 5,
}
GROUPS = (
    Group("q1", ("d3", "d1", "d5"), (1.0, 0.0, math.nan)),
    Group("q2", ("d5", "d3")),
    Group("q3", ("d2", "d4", "d1", "d3"), (0.0, math.nan, 2.0, 0.0)),
)
SET = TransferSet(QUERIES, DOCUMENTS, GROUPS)
TEACHER = np.array([2.5, -1.0, 0.5, 1.0, -2.0, 0.0, 1.5, 3.0, -0.5], dtype=np.float32)
LENGTHS = {"max_length": 24, "max_query_length": 8}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return make_transformer(tmp_path_factory.mktemp("start") / "transformer")


def student_of(start, kind="cross-encoder", **settings):
    lengths = LENGTHS if KINDS[kind].reads == "texts" else {"max_length": LENGTHS["max_length"]}
    student = build_student(KINDS[kind].shape(kind=kind, start=str(start), **lengths, **settings), 0)
    torch.manual_seed(7)
    with torch.no_grad():
        # A new head's scores are too much alike to tell a right loss from a wrong one.
        for name, parameter in student.network.named_parameters():
            if name.startswith("classifier"):
                parameter.normal_()
    student.network.eval()
    return student


def stage(over="groups", layer_mapping="uniform", **losses):
    return Stage(over=over, losses=losses, layer_mapping=layer_mapping)


def batch_of(student, teacher=TEACHER, numbers=(0, 1, 2), chunk_tokens=60):
    apart = student.kind.reads == "texts"
    return groups_of(teacher, apart=apart, chunk_tokens=chunk_tokens).batch(list(numbers))["batch"]


def groups_of(teacher, **settings):
    return GroupDataset(SET, teacher, FRAMED, **LENGTHS, **settings)


def texts_of(numbers=(0, 2, 4), embeddings=None, chunk_tokens=30):
    groups = groups_of(TEACHER, apart=True, chunk_tokens=chunk_tokens)
    return TextDataset(groups, embeddings).batch(list(numbers))["texts"]


def single(*texts, max_length=24):
    return TOKENIZER(*texts, truncation="longest_first", max_length=max_length, return_tensors="pt")


def in_grid(rows):
    """Return rows of unequal length as (q, c), 0 where there is nothing, and the mask."""
    width = max(map(len, rows))
    grid = torch.zeros(len(rows), width)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, row in enumerate(rows):
        grid[place, : len(row)] = torch.stack(list(row)) if isinstance(row[0], torch.Tensor) else torch.tensor(row)
        mask[place, : len(row)] = True
    return grid, mask


def hand_made_scores(student):
    """Return the student's logits (q, c), each pair run by itself, unpadded."""
    network, rows = student.network, []
    for group in GROUPS:
        scores = []
        for docid in group.docids:
            if student.settings.kind == "twin":
                query = network.query_tower(**single(QUERIES[group.qid], max_length=8))
                document = network.document_tower(**single(DOCUMENTS[docid]))
                crossing = network.crossing
                score = crossing.logits(crossing(crossing.prepare(query), crossing.prepare(document)))[0]
            else:
                outputs = network(**single(QUERIES[group.qid], DOCUMENTS[docid]))
                score = outputs[0, 0]
            scores.append(score)
        rows.append(scores)
    return in_grid(rows)


def teacher_grid(values=TEACHER):
    return in_grid([values[:3].tolist(), values[3:5].tolist(), values[5:].tolist()])[0]


def label_grid():
    return in_grid([list(group.labels or [math.nan] * 2) for group in GROUPS])[0]


OPTIONS = {
    "soft_cross_entropy": {"temperature": 2.0},
    "rank_kl": {"temperature": 3.0},
    "contrastive_kd": {"alpha": 0.3, "temperature": 2.0},
}


# contrastive_kd meets the whole batch: tests of its own.
OF_SCORES = [name for name, loss in LOSSES.items() if "scores" in loss.reads and "similarities" not in loss.reads]
LOSSES_OF_KINDS = {(name, kind) for name in OF_SCORES for kind in ("cross-encoder", "bert-bilstm", "twin")}


@pytest.mark.parametrize("kind", ["cross-encoder", "bert-bilstm"])
def test_only_a_twin_meets_the_whole_batch(start, kind):
    with pytest.raises(
        RecipeError, match=r"student\.kind: contrastive_kd .* as only a student that reads texts apart can"
    ):
        Distiller(student_of(start, kind), stage(contrastive_kd=1.0))


@pytest.mark.parametrize(("name", "kind"), sorted(LOSSES_OF_KINDS))
def test_a_loss_of_scores_is_its_functions(start, name, kind):
    student = student_of(start, kind)
    options = OPTIONS.get(name, {})
    distiller = Distiller(student, stage(**{name: {"weight": 0.5, **options}})).eval()
    losses = distiller(batch=batch_of(student))
    scores, mask = hand_made_scores(student)
    held_against = {"teacher": teacher_grid(), "labels": label_grid()}
    given = {target: held_against[target] for target in LOSSES[name].reads[1:]}
    expected = LOSSES[name].function(student=scores, mask=mask, **given, **options)
    assert expected > 0.01
    torch.testing.assert_close(losses[name], expected.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(losses["loss"], 0.5 * expected, atol=1e-4, rtol=1e-4)
    assert losses.keys() == {"loss", name}
    # Else the choice of groups would not matter.
    assert scores[mask].std() > 0.01


def test_losses_add_up_by_their_weights(start):
    student = student_of(start)
    losses = Distiller(student, stage(rank_kl=2.0, hard_cross_entropy=0.25, margin_mse=0.5))(batch=batch_of(student))
    expected = 2 * losses["rank_kl"] + 0.25 * losses["hard_cross_entropy"] + 0.5 * losses["margin_mse"]
    torch.testing.assert_close(losses["loss"].detach(), expected)
    losses["loss"].backward()
    assert all(value.grad is not None for value in student.network.parameters())
    assert not losses["rank_kl"].requires_grad


def test_where_the_teacher_is_silent_labels_alone_teach(start):
    silent = TEACHER.copy()
    # d3 of q3 has a label; all others of q3 and q1 keep their scores.
    silent[8] = np.nan
    student = student_of(start)
    losses = Distiller(student, stage(logit_mse=1.0, hard_cross_entropy=1.0))(batch=batch_of(student, silent))
    scores, mask = hand_made_scores(student)
    known = mask.clone()
    known[2, 3] = False
    mse = LOSSES["logit_mse"].function(student=scores, teacher=teacher_grid(), mask=known)
    hard = LOSSES["hard_cross_entropy"].function(student=scores, labels=label_grid(), mask=mask)
    torch.testing.assert_close(losses["logit_mse"], mse.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(losses["hard_cross_entropy"], hard.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("crossing", ["cosine", "dot", "residual"])
@pytest.mark.parametrize("towers", ["shared", "separate"])
def test_contrastive_kd_meets_the_documents_of_the_whole_batch(start, crossing, towers):
    student = student_of(start, "twin", crossing=crossing, towers=towers)
    network, cross = student.network, student.network.crossing
    options = {"alpha": 0.3, "temperature": 2.0, "scale": 0.5}
    losses = Distiller(student, stage(contrastive_kd={"weight": 1.0, **options}))(batch=batch_of(student))
    scores, mask = hand_made_scores(student)
    soft = LOSSES["rank_kl"].function(student=scores, teacher=teacher_grid(), mask=mask, temperature=2.0)

    # Positive are the teacher's best and what people judged so: d3 of q1, d5 of q2, d1 of q3.
    positives = {"q1": {"d3"}, "q2": {"d5"}, "q3": {"d1"}}
    hard = []
    for group in GROUPS:
        query = cross.prepare(network.query_tower(**single(QUERIES[group.qid], max_length=8)))
        meets = list(group.docids)
        for other in GROUPS:
            # A document of the query's own group stands in the batch once.
            meets += [docid for docid in other.docids if docid not in group.docids and other is not group]
        vectors = [cross.prepare(network.document_tower(**single(DOCUMENTS[docid]))) for docid in meets]
        logits = torch.stack([cross.logits(cross(query, vector))[0] for vector in vectors]) * 0.5
        chosen = [place for place, docid in enumerate(meets) if docid in positives[group.qid]]
        hard.append(-logits.log_softmax(0)[chosen].mean())
    expected = 0.3 * soft + 0.7 * torch.stack(hard).mean()
    torch.testing.assert_close(losses["contrastive_kd"], expected.detach(), atol=1e-4, rtol=1e-4)


# Losses over embeddings.


@pytest.mark.parametrize("width", [32, 20])
def test_embeddings_are_held_against_the_teachers(start, width):
    student = student_of(start, "twin", towers="separate")
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(8, width)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    distiller = Distiller(student, stage(over="texts", text_embedding=1.0, text_similarity=1.0), teacher_width=width)
    assert len(distiller.projections) == (width != 32)
    # Queries 0 and 2, documents d1 and d5.
    losses = distiller(texts=texts_of((7, 0, 3, 2), embeddings))
    queries = [student.network.query_tower(**single(QUERIES[qid], max_length=8)) for qid in ("q1", "q3")]
    documents = [student.network.document_tower(**single(DOCUMENTS[docid])) for docid in ("d5", "d1")]
    ours = torch.nn.functional.normalize(torch.cat([*queries, *documents]), dim=1)
    theirs = torch.from_numpy(embeddings[[0, 2, 7, 3]])
    brought = torch.nn.functional.normalize(distiller.projections["embeddings"](ours), dim=1) if width != 32 else ours
    distances = [(one - other).square().sum() for one, other in zip(brought, theirs, strict=True)]
    torch.testing.assert_close(losses["text_embedding"], torch.stack(distances).mean().detach(), atol=1e-4, rtol=1e-4)
    divergences = []
    for row in range(4):
        others = [place for place in range(4) if place != row]
        p, q = ((vectors[others] @ vectors[row] / 0.05).softmax(0) for vectors in (theirs, ours))
        divergences.append((p * (p / q).log()).sum())
    expected = torch.stack(divergences).mean().detach()
    torch.testing.assert_close(losses["text_similarity"], expected, atol=1e-3, rtol=1e-3)


# Losses over layers.


def teacher_encoder(layers=4, *, heads=2, hidden=32, vocabulary=None, electra=False):
    torch.manual_seed(11)
    sizes = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": hidden}
    sizes |= {"vocab_size": vocabulary or len(TOKENIZER), "intermediate_size": 40, "initializer_range": 0.3}
    if electra:
        return ElectraModel(ElectraConfig(**sizes, embedding_size=8))
    return BertModel(BertConfig(**sizes))


def layer_teacher(**shape):
    encoder = teacher_encoder(**shape)
    return LayerTeacher(encoder, encoder)


def insides(encoder, inputs):
    """Return hidden states, and of each layer queries, keys and values (tokens, width), of one sequence."""
    hidden = [states[0] for states in encoder(**inputs, output_hidden_states=True).hidden_states]
    parts = [
        tuple(getattr(layer.attention.self, name)(states) for name in ("query", "key", "value"))
        for layer, states in zip(encoder.encoder.layer, hidden, strict=False)
    ]
    return hidden, parts


def by_head(vectors, heads):
    return [vectors[:, part] for part in torch.arange(vectors.shape[1]).view(heads, -1)]


def naive_layer_loss(name, ours, theirs, mapping, heads, projections):
    """Return the sum over what is averaged, and its count in tokens (in pairs of tokens for attention)."""
    (hidden, parts), (their_hidden, their_parts) = ours, theirs
    tokens = len(hidden[0])

    def distance(one, other, projection):
        return (projection(one) - other).square().mean(1).sum()

    if name == "embedding":
        return distance(hidden[0], their_hidden[0], projections.get("embedding_layer", torch.nn.Identity())), tokens
    if name == "hidden":
        projection = projections.get("hidden", torch.nn.Identity())
        return sum(distance(hidden[m], their_hidden[g], projection) for m, g in mapping), tokens
    if name == "attention":
        total = 0.0
        for m, g in mapping:
            for (q, k), (tq, tk) in zip(
                zip(*(by_head(vectors, heads) for vectors in parts[m - 1][:2]), strict=True),
                zip(*(by_head(vectors, heads) for vectors in their_parts[g - 1][:2]), strict=True),
                strict=True,
            ):
                scores = q @ k.T / q.shape[1] ** 0.5 - tq @ tk.T / tq.shape[1] ** 0.5
                total = total + scores.square().sum() / heads
        return total, tokens**2
    total, (m, g) = 0.0, mapping[-1]
    for one, other in zip(parts[m - 1], their_parts[g - 1], strict=True):
        for mine, their in zip(by_head(one, heads), by_head(other, heads), strict=True):
            p, q = ((v @ v.T / v.shape[1] ** 0.5).log_softmax(1) for v in (their, mine))
            total = total + (p.exp() * (p - q)).sum() / heads
    return total, tokens


SEQUENCES = {
    "texts": [single(DOCUMENTS[docid]) for docid in ("d1", "d3", "d5")],
    "groups": [single(QUERIES[group.qid], DOCUMENTS[docid]) for group in GROUPS for docid in group.docids],
}


@pytest.mark.parametrize("over", SEQUENCES)
@pytest.mark.parametrize(
    ("settings", "teacher", "layer_mapping", "mapping"),
    [
        ({}, {}, "uniform", [(1, 2), (2, 4)]),
        ({}, {}, "last", [(1, 3), (2, 4)]),
        ({}, {"electra": True}, (4, 1), [(1, 4), (2, 1)]),
        ({"hidden_size": 16, "heads": 2, "layers": 1}, {"layers": 3}, "uniform", [(1, 3)]),
        ({"embedding_size": 8}, {"hidden": 48}, "uniform", [(1, 2), (2, 4)]),
    ],
)
@pytest.mark.parametrize("name", ["embedding", "hidden", "attention", "relation_kl"])
def test_a_loss_of_layers_is_that_of_single_sequences(start, name, settings, teacher, layer_mapping, mapping, over):
    student = student_of(start, **settings)
    encoder = teacher_encoder(**teacher)
    wanted = stage(over, layer_mapping, **{name: 0.5})
    torch.manual_seed(3)
    distiller = Distiller(student, wanted, LayerTeacher(encoder, encoder))
    # Attention is averaged over pairs of tokens, within a chunk.
    chunk_tokens = 4096 if name == "attention" else 40
    if over == "texts":
        losses = distiller(texts=texts_of(chunk_tokens=chunk_tokens))
    else:
        losses = distiller(batch=batch_of(student, chunk_tokens=chunk_tokens))
    projections = dict(distiller.projections)
    results = [
        naive_layer_loss(name, insides(student.encoder, inputs), insides(encoder, inputs), mapping, 2, projections)
        for inputs in SEQUENCES[over]
    ]
    expected = sum(total for total, _ in results) / sum(count for _, count in results)
    assert expected > 0.01
    torch.testing.assert_close(losses[name], expected.detach(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(losses["loss"], 0.5 * expected, atol=1e-3, rtol=1e-3)


def test_projections_are_where_widths_differ(start):
    layers = stage("texts", embedding=1.0, hidden=1.0)
    assert len(Distiller(student_of(start), layers, layer_teacher()).projections) == 0
    distiller = Distiller(student_of(start, hidden_size=16), layers, layer_teacher())
    assert {name: tuple(linear.weight.shape) for name, linear in distiller.projections.items()} == {
        "embedding_layer": (32, 16),
        "hidden": (32, 16),
    }
    assert all(projection.bias is None for projection in distiller.projections.values())


def test_the_teacher_stands_still(start):
    student, encoder = student_of(start, hidden_size=16), teacher_encoder().train()
    distiller = Distiller(
        student, stage("texts", embedding=1.0, hidden=1.0, relation_kl=1.0), LayerTeacher(encoder, encoder)
    )
    distiller.train()
    # No dropout: the same texts are the same lesson.
    first, again = (distiller(texts=texts_of()) for _ in range(2))
    assert first["loss"] == again["loss"]
    first["loss"].backward()
    taught = {id(parameter) for parameter in distiller.parameters()}
    assert not taught & {id(parameter) for parameter in encoder.parameters()}
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in encoder.parameters())
    assert all(projection.weight.grad.any() for projection in distiller.projections.values())
    assert student.encoder.encoder.layer[0].attention.self.query.weight.grad.any()
    assert distiller.state_dict().keys() == {
        *(f"network.{name}" for name in student.network.state_dict()),
        "projections.embedding_layer.weight",
        "projections.hidden.weight",
    }


def test_layers_and_scores_are_learnt_in_one_step(start):
    student = student_of(start)
    both = Distiller(student, stage(hidden=1.0, rank_kl=1.0), layer_teacher())(batch=batch_of(student))
    layers = Distiller(student, stage(hidden=1.0), layer_teacher())(batch=batch_of(student))
    scores = Distiller(student, stage(rank_kl=1.0))(batch=batch_of(student))
    torch.testing.assert_close(both["loss"], layers["loss"] + scores["loss"])


def test_a_gated_student_learns_from_the_layers_of_a_gated_teacher(start):
    student, teacher = (student_of(start, "gated-cross-encoder") for _ in range(2))
    reader = LayerTeacher(teacher.network, teacher.encoder)
    distiller = Distiller(student, stage(embedding=1.0, hidden=1.0, attention=1.0, rank_kl=1.0), reader)
    same = distiller(batch=batch_of(student))
    assert max(same["embedding"], same["hidden"], same["attention"]) < 1e-9
    with torch.no_grad():
        teacher.network.gates += 1.0
    opened = distiller(batch=batch_of(student))
    # What gates let through is in the layers, not in the embeddings.
    assert opened["embedding"] < 1e-9 < 1e-6 < opened["hidden"]


# Masked tokens, checkpoints.


def test_masked_tokens_are_learnt_in_the_student(start):
    student = student_of(start)
    distiller = Distiller(student, stage("texts", masked_language_model=2.0))
    torch.manual_seed(5)
    losses = distiller(texts=texts_of())
    torch.manual_seed(5)
    logits, labels = distiller.masked_language_model(texts_of().documents)
    expected = torch.nn.functional.cross_entropy(logits, labels).detach()
    torch.testing.assert_close(losses["masked_language_model"], expected)
    torch.testing.assert_close(losses["loss"].detach(), 2 * losses["masked_language_model"])
    losses["loss"].backward()
    assert student.encoder.embeddings.word_embeddings.weight.grad.any()


@pytest.mark.parametrize("pooling", ["mean", "weighted"])
@pytest.mark.parametrize("towers", ["shared", "separate"])
def test_a_checkpoint_holds_each_tower_once_and_loads_back(start, towers, pooling):
    student = student_of(start, "twin", towers=towers, pooling=pooling)
    distiller = Distiller(student, stage(rank_kl=1.0))
    state = distiller.state_dict()
    places = [value.data_ptr() for value in state.values()]
    assert len(set(places)) == len(places)
    # All weights that are trained are in it.
    assert {value.data_ptr() for value in distiller.parameters()} <= set(places)
    kept = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        for parameter in distiller.parameters():
            parameter.add_(1.0)
    report = distiller.load_state_dict(kept, strict=False)
    assert not report.unexpected_keys
    assert all(towers == "shared" and key.startswith("network.document_tower.") for key in report.missing_keys)
    batch = batch_of(student)
    torch.testing.assert_close(
        distiller(batch=batch)["loss"],
        Distiller(student_of(start, "twin", towers=towers, pooling=pooling), stage(rank_kl=1.0))(batch=batch)["loss"],
    )


# What cannot be.


@pytest.mark.parametrize(
    ("student", "losses", "teacher", "fault"),
    [
        (
            {},
            {"hidden": 1.0},
            None,
            r"losses hidden need .*student\.kind.* and a model as teacher \(teacher\.model\)",
        ),
        ({"kind": "twin"}, {"hidden": 1.0}, {}, r"losses hidden need a transformer that reads pairs .*student\.kind"),
        ({"kind": "bert-bilstm"}, {"attention": 1.0}, {}, r"losses attention need .*student\.kind"),
        ({}, {"hidden": 1.0}, {"vocabulary": 99}, r"student\.start: its vocabulary has \d+ tokens, the teacher's 99"),
        ({}, {"attention": 1.0}, {"heads": 4}, r"student\.heads: 2 heads cannot learn attention from the teacher's 4"),
        ({}, {"hidden": 1.0}, {"layers": 3}, "2 student layers cannot be mapped to 3 teacher layers uniformly"),
        ({}, {"hidden": 1.0}, {"layers": 1}, "2 student layers cannot be mapped to 1 teacher layers"),
    ],
)
def test_layers_that_cannot_be_compared_are_refused(start, student, losses, teacher, fault):
    read = None if teacher is None else layer_teacher(**teacher)
    with pytest.raises((RecipeError, InputError), match=fault) as caught:
        Distiller(student_of(start, **student), stage(**losses), read)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "width"), [("cross-encoder", 32), ("twin", None)])
def test_embeddings_that_cannot_be_compared_are_refused(start, kind, width):
    with pytest.raises(
        RecipeError, match=r"losses text_embedding need a student that reads texts apart .* and a bi-encoder as teacher"
    ):
        Distiller(student_of(start, kind), stage("texts", text_embedding=1.0), teacher_width=width)


def test_heads_may_differ_where_relations_are_learnt(start):
    student = student_of(start)
    distiller = Distiller(student, stage("texts", relation_kl=1.0), layer_teacher(heads=4))
    losses = distiller(texts=texts_of())
    encoder = teacher_encoder(heads=4).eval()
    results = [
        naive_layer_loss("relation_kl", insides(student.encoder, each), insides(encoder, each), [(2, 4)], 4, None)
        for each in SEQUENCES["texts"]
    ]
    expected = sum(total for total, _ in results) / sum(count for _, count in results)
    torch.testing.assert_close(losses["loss"], expected, atol=1e-3, rtol=1e-3)


# Losses of others.


class RaisedError(Exception):
    pass


def _raises(**_given):
    raise RaisedError


@pytest.mark.parametrize(
    ("reads", "kind", "over"),
    [
        (("hidden",), "cross-encoder", "texts"),
        (("embedding_layer",), "cross-encoder", "groups"),
        (("relations",), "cross-encoder", "groups"),
        (("embeddings",), "twin", "texts"),
        (("masked_tokens",), "cross-encoder", "texts"),
        (("scores", "labels"), "bert-bilstm", "groups"),
    ],
)
def test_a_registered_loss_that_raises_raises(start, monkeypatch, reads, kind, over):
    monkeypatch.setitem(LOSSES._own, "of_mine", Loss(_raises, reads))
    student = student_of(start, kind)
    distiller = Distiller(student, stage(over, of_mine=1.0), layer_teacher() if kind == "cross-encoder" else None, 32)
    given = {"texts": texts_of(embeddings=np.ones((8, 32), dtype=np.float32) if kind == "twin" else None)}
    with pytest.raises(RaisedError):
        distiller(**({"batch": batch_of(student)} if over == "groups" else given))


def test_a_registered_loss_of_layers_reads_them_with_its_options(start, monkeypatch):
    seen = []

    def largest(student, teacher, token_mask, projection=None, *, power=1.0):
        seen.append((student.shape[2], projection(student).shape[2] if projection else None, teacher.shape[2], power))
        return student[token_mask].abs().max() ** power

    monkeypatch.setitem(LOSSES._own, "largest", Loss(largest, ("hidden",), projection=True))
    student = student_of(start, hidden_size=16)
    Distiller(student, stage("texts", largest={"power": 2.0}), layer_teacher())(texts=texts_of(chunk_tokens=4096))
    # The check of its options, then two layers.
    assert seen == [(2, None, 2, 2.0), (16, 32, 32, 2.0), (16, 32, 32, 2.0)]
