"""Every loss of scores equals a naive loop over its definition, in float32 and bfloat16, whatever padding holds."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_kd.distill.objectives.losses import contrastive_kd, in_batch, soft_cross_entropy
from reranker_kd.distill.objectives.registry import LOSSES, Loss
from reranker_kd.errors import InputError


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def _softmax(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def _kl(ours, theirs):
    return sum(t * math.log(t / s) for s, t in zip(_softmax(ours), _softmax(theirs), strict=True))


def _binary_cross_entropy(x, target):
    return -target * math.log(_sigmoid(x)) - (1 - target) * math.log(_sigmoid(-x))


def _mean(losses):
    losses = list(losses)
    return sum(losses) / len(losses) if losses else 0.0


# Naive losses of groups: each a list of (student, teacher, label), one for each candidate that exists.


def _soft_cross_entropy(groups, temperature=1.0):
    pairs = [(s / temperature, _sigmoid(t / temperature)) for group in groups for s, t, _ in group]
    return temperature**2 * _mean(_binary_cross_entropy(s, target) for s, target in pairs)


def _hard_cross_entropy(groups):
    judged = [(s, label) for group in groups for s, _, label in group if not math.isnan(label)]
    return _mean(_binary_cross_entropy(s, float(label > 0)) for s, label in judged)


def _logit_mse(groups):
    return _mean((s - t) ** 2 for group in groups for s, t, _ in group)


def _margin_mse(groups):
    return _mean(((a[0] - b[0]) - (a[1] - b[1])) ** 2 for group in groups for a, b in combinations(group, 2))


def _rank_kl(groups, temperature=1.0):
    groups = [group for group in groups if len(group) > 1]
    return temperature**2 * _mean(
        _kl([s / temperature for s, _, _ in group], [t / temperature for _, t, _ in group]) for group in groups
    )


def _ranknet(groups):
    pairs = [(a, b) for group in groups for a, b in permutations(group, 2)]
    return _mean(math.log(1 + math.exp(b[0] - a[0])) for a, b in pairs if a[1] > b[1])


NAIVE = {
    "soft_cross_entropy": _soft_cross_entropy,
    "hard_cross_entropy": _hard_cross_entropy,
    "logit_mse": _logit_mse,
    "margin_mse": _margin_mse,
    "rank_kl": _rank_kl,
    "ranknet": _ranknet,
}
TEMPERATURES = (0.5, 1.0, 3.0)
FROM_TEACHER = [name for name in NAIVE if "teacher" in LOSSES[name].reads]


def _batch(queries, candidates, seed, dtype=torch.float32):
    """Return student, teacher, labels, mask: ragged, with ties of the teacher and labels that nobody gave."""
    generator = torch.Generator().manual_seed(seed)
    shape = (queries, candidates)
    student = (2 * torch.randn(shape, generator=generator)).to(dtype)
    teacher = torch.randint(-8, 9, shape, generator=generator).to(dtype) / 2
    labels = torch.randint(-1, 4, shape, generator=generator).float()
    labels = labels.masked_fill(torch.rand(shape, generator=generator) < 0.3, torch.nan)
    return student, teacher, labels, torch.rand(shape, generator=generator) < 0.7


def _loss(name, student, teacher, labels, mask, **chosen):
    held_against = {"scores": student, "teacher": teacher, "labels": labels}
    _, *targets = LOSSES[name].reads
    given = {target: held_against[target] for target in targets}
    return LOSSES[name].function(student=student, mask=mask, **given, **chosen)


def _groups(student, teacher, labels, mask):
    rows = zip(student.tolist(), teacher.tolist(), labels.tolist(), mask.tolist(), strict=True)
    return [[(s, t, label) for s, t, label, exists in zip(*row, strict=True) if exists] for row in rows]


def test_the_table_is_complete():
    assert NAIVE.keys() | {"contrastive_kd"} == {name for name, loss in LOSSES.items() if "scores" in loss.reads}
    assert LOSSES["hard_cross_entropy"].reads == ("scores", "labels")
    assert LOSSES["contrastive_kd"].options == {"temperature": 1.0, "alpha": 0.5, "scale": 1.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAIVE)
@settings(max_examples=40)
@given(data=st.data())
def test_equals_the_naive_loop(name, dtype, data):
    shape = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    batch = _batch(*shape, data.draw(st.integers(0, 10**6)), dtype)
    chosen = {option: data.draw(st.sampled_from(TEMPERATURES)) for option in LOSSES[name].options}
    loss = _loss(name, *batch, **chosen)
    assert loss.dtype == torch.float32
    # The naive loop reads what bfloat16 holds, so that its tolerance is that of arithmetic in float32.
    assert loss.item() == pytest.approx(NAIVE[name](_groups(*batch), **chosen), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf, 1e30])
@pytest.mark.parametrize("name", NAIVE)
def test_padding_bears_on_neither_loss_nor_gradient(name, junk, dtype):
    student, teacher, labels, mask = _batch(5, 6, 3, dtype)
    mask[0] = False
    clean = _loss(name, *(values.masked_fill(~mask, 0.0) for values in (student, teacher, labels)), mask)
    student, teacher, labels = (values.masked_fill(~mask, junk) for values in (student, teacher, labels))
    student.requires_grad_()
    loss = _loss(name, student, teacher, labels, mask)
    # Raises where a NaN arises on the way, though it is masked later.
    with torch.autograd.set_detect_anomaly(True):
        loss.backward()
    assert loss.item() == clean.item() > 0
    assert student.grad.isfinite().all()
    assert (student.grad[~mask] == 0).all()
    assert student.grad[mask].count_nonzero() > 0


@pytest.mark.parametrize("name", NAIVE)
def test_of_nothing_the_loss_is_zero(name):
    student, teacher, labels, mask = _batch(2, 3, 0)
    student.requires_grad_()
    loss = _loss(name, student, teacher, labels, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("name", NAIVE)
def test_far_scores_keep_loss_and_gradient_finite(name):
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0]])
    loss = _loss(name, student, teacher, torch.tensor([[0.0, 1.0, torch.nan]]), torch.ones(1, 3, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


# One query: scores 1, 0 of the student, 3, 0 of the teacher; the first is relevant, the second is not.
BY_HAND = [
    ("soft_cross_entropy", {"temperature": 1.0}, (math.log1p(math.e) - _sigmoid(3) + math.log(2)) / 2),
    ("hard_cross_entropy", {}, (math.log1p(math.exp(-1)) + math.log(2)) / 2),
    ("logit_mse", {}, (2**2 + 0) / 2),
    ("margin_mse", {}, (1 - 3) ** 2),
    # Two candidates: the first has probability sigmoid(difference), at temperature 2 of half of it.
    (
        "rank_kl",
        {"temperature": 2.0},
        4 * (_sigmoid(1.5) * math.log(_sigmoid(1.5) / _sigmoid(0.5)))
        + 4 * (_sigmoid(-1.5) * math.log(_sigmoid(-1.5) / _sigmoid(-0.5))),
    ),
    ("ranknet", {}, math.log1p(math.exp(-1))),
]


@pytest.mark.parametrize(("name", "chosen", "expected"), BY_HAND)
def test_by_hand(name, chosen, expected):
    # A third candidate is padding.
    student, teacher = torch.tensor([[1.0, 0.0, 9.0]]), torch.tensor([[3.0, 0.0, -9.0]])
    mask = torch.tensor([[True, True, False]])
    assert _loss(name, student, teacher, torch.tensor([[2.0, 0.0, 1.0]]), mask, **chosen).item() == pytest.approx(
        expected
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_gradient_of_soft_targets_keeps_its_size(temperature):
    # Hinton et al. 2015, equation 2, here times T^2.
    student = torch.tensor([[0.4, -0.2]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.3]])
    soft_cross_entropy(student, teacher, torch.ones(1, 2, dtype=torch.bool), temperature=temperature).backward()
    expected = temperature * ((student / temperature).sigmoid() - (teacher / temperature).sigmoid()) / 2
    torch.testing.assert_close(student.grad, expected.detach())


BATCHES = st.builds(_batch, st.integers(1, 4), st.integers(2, 6), st.integers(0, 10**6), st.just(torch.float64))


@pytest.mark.parametrize("name", ["margin_mse", "rank_kl", "ranknet"])
@settings(max_examples=20)
@given(batch=BATCHES, shift=st.floats(-50, 50))
def test_shifting_a_group_changes_nothing(name, batch, shift):
    student, teacher, labels, mask = batch
    by_group = shift * torch.arange(1, len(student) + 1)[:, None]
    shifted = _loss(name, student + by_group, teacher - 2 * by_group, labels, mask)
    torch.testing.assert_close(shifted, _loss(name, *batch))


@settings(max_examples=20)
@given(batch=BATCHES)
def test_ranknet_reads_of_the_teacher_the_order_alone(batch):
    student, teacher, labels, mask = batch
    assert _loss("ranknet", student, teacher.exp(), labels, mask) == _loss("ranknet", *batch)
    reverse = _loss("ranknet", student, -teacher, labels, mask)
    assert reverse.item() == pytest.approx(_loss("ranknet", -student, teacher, labels, mask).item())


@pytest.mark.parametrize("name", [name for name in FROM_TEACHER if name != "ranknet"])
@settings(max_examples=20)
@given(batch=BATCHES)
def test_least_where_student_and_teacher_agree(name, batch):
    student, teacher, labels, mask = batch
    least = _loss(name, teacher, teacher, labels, mask).item()
    probabilities = teacher[mask].sigmoid()
    entropy = torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)
    expected = entropy.sum().item() / max(len(entropy), 1) if name == "soft_cross_entropy" else 0.0
    assert least == pytest.approx(expected, abs=1e-12)
    assert _loss(name, student, teacher, labels, mask).item() >= least - 1e-12


def _batch_of_documents(queries, candidates, seed, dtype=torch.float32):
    """Return what contrastive_kd reads by name: no document twice in a group, some in several of them."""
    student, teacher, labels, known = _batch(queries, candidates, seed, dtype)
    generator = torch.Generator().manual_seed(seed)
    numbers = [torch.randperm(candidates + 2, generator=generator)[:candidates] for _ in range(queries)]
    # A candidate that the teacher knows is there; of the others some are.
    exists = known | (torch.rand(known.shape, generator=generator) < 0.5)
    return {
        "student": student,
        "teacher": teacher.masked_fill(~known, 0),
        "labels": labels,
        "mask": known,
        "similarities": (2 * torch.randn(queries, queries * candidates, generator=generator)).to(dtype),
        "docids": torch.stack(numbers).masked_fill(~exists, -1),
    }


def _naive_contrastive_kd(batch, temperature, alpha, scale):
    lists = {name: values.tolist() for name, values in batch.items()}
    candidates = len(lists["docids"][0])
    losses = []
    for query, docids in enumerate(lists["docids"]):
        known = [place for place in range(candidates) if lists["mask"][query][place]]
        best = max(known, key=lambda place: lists["teacher"][query][place], default=0)
        logits, relevant = [], []
        for column, similarity in enumerate(lists["similarities"][query]):
            other, place = divmod(column, candidates)
            docid = lists["docids"][other][place]
            if docid < 0 or (other != query and docid in docids):
                continue
            label = lists["labels"][query][place]
            logits.append(similarity * scale)
            relevant.append(other == query and (place == best if math.isnan(label) else label > 0))
        if any(relevant):
            losses.append(_mean(-math.log(p) for p, yes in zip(_softmax(logits), relevant, strict=True) if yes))
    soft = _rank_kl(_groups(*(batch[name] for name in ("student", "teacher", "labels", "mask"))), temperature)
    return alpha * soft + (1 - alpha) * _mean(losses)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 10**6),
    temperature=st.sampled_from(TEMPERATURES),
    alpha=st.sampled_from((0.0, 0.3, 1.0)),
    scale=st.sampled_from((1.0, 2.5)),
)
def test_contrastive_equals_the_naive_loop(dtype, shape, seed, temperature, alpha, scale):
    batch = _batch_of_documents(*shape, seed, dtype)
    loss = contrastive_kd(**batch, temperature=temperature, alpha=alpha, scale=scale)
    assert loss.dtype == torch.float32
    expected = _naive_contrastive_kd(batch, temperature, alpha, scale)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_contrastive_reads_no_padding(junk):
    batch = _batch_of_documents(4, 5, 3)
    clean = contrastive_kd(**batch)
    known, exists = batch["mask"], batch["docids"] >= 0
    batch["student"], batch["teacher"] = (batch[name].masked_fill(~known, junk) for name in ("student", "teacher"))
    batch["labels"] = batch["labels"].masked_fill(~exists, junk)
    batch["similarities"] = batch["similarities"].masked_fill(~exists.flatten(), junk)
    for name in ("student", "similarities"):
        batch[name].requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        loss = contrastive_kd(**batch)
        loss.backward()
    assert loss.item() == clean.item() > 0
    assert batch["student"].grad.isfinite().all() and batch["similarities"].grad.isfinite().all()
    assert (batch["similarities"].grad[:, ~exists.flatten()] == 0).all()


def test_in_batch_leaves_out_what_the_query_has_itself():
    # Document 7 is in both groups; the second group's 9 is padding, as is the first group's 7 of column 2.
    documents = torch.tensor([[5, 7, 7], [7, 8, 9]])
    labels = torch.tensor([[1.0, 0.0, 3.0], [2.0, torch.nan, 3.0]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    spread, allowed = in_batch(documents, labels, mask)
    nan = torch.nan
    expected = torch.tensor([[1.0, 0.0, 3.0, nan, nan, nan], [nan, nan, nan, 2.0, nan, 3.0]])
    torch.testing.assert_close(spread, expected, equal_nan=True)
    assert allowed.int().tolist() == [[1, 1, 0, 0, 1, 0], [1, 0, 0, 1, 1, 0]]
    # Query 0 then meets documents 5, 7, 8 and query 1 documents 5, 7, 8, each once.
    student = torch.tensor([[1.0, 2.0, 99.0, 99.0, 3.0, 99.0], [1.0, 99.0, 99.0, 2.0, 3.0, 99.0]])
    log_sum = math.log(math.e + math.e**2 + math.e**3)
    loss = contrastive_kd(
        labels.nan_to_num(), labels.nan_to_num(), labels, mask, student, documents.masked_fill(~mask, -1), alpha=0
    )
    assert loss.item() == pytest.approx(((log_sum - 1) + (log_sum - 2)) / 2)


@settings(max_examples=20)
@given(data=st.data())
def test_in_batch_equals_the_naive_loop(data):
    queries, candidates = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    _, _, labels, mask = _batch(queries, candidates, data.draw(st.integers(0, 10**6)))
    drawn = st.lists(st.integers(0, 9), min_size=candidates, max_size=candidates, unique=True)
    documents = [data.draw(drawn) for _ in range(queries)]
    _, allowed = in_batch(torch.tensor(documents), labels, mask)
    for query in range(queries):
        group = {documents[query][place] for place in range(candidates) if mask[query, place]}
        for other in range(queries):
            for place in range(candidates):
                foreign = other == query or documents[other][place] not in group
                assert allowed[query, other * candidates + place].item() == (mask[other, place].item() and foreign)


@pytest.mark.parametrize("name", NAIVE)
def test_tensors_that_do_not_fit_are_refused(name):
    student, teacher, labels, mask = _batch(2, 3, 0)
    with pytest.raises(InputError, match=r"student has shape \(2, 2\), the mask \(2, 3\)"):
        _loss(name, student[:, :2], teacher, labels, mask)
    with pytest.raises(InputError, match=r"(teacher|labels) has shape \(1, 3\), the mask \(2, 3\)"):
        # One row would spread over both without a word.
        _loss(name, student, teacher[:1], labels[:1], mask)
    with pytest.raises(InputError, match=r"mask is torch.float32 .*give torch.bool"):
        _loss(name, student, teacher, labels, mask.float())
    with pytest.raises(InputError, match=r"of shape \(2,\)"):
        _loss(name, student[:, 0], teacher[:, 0], labels[:, 0], mask[:, 0])


def test_options_out_of_range_are_refused():
    for name in ("soft_cross_entropy", "rank_kl", "contrastive_kd"):
        with pytest.raises(InputError, match="temperature is 0"):
            LOSSES[name].check({"temperature": 0})
    with pytest.raises(InputError, match=r"alpha is 1\.5"):
        LOSSES["contrastive_kd"].check({"alpha": 1.5})


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_its_own_options(name):
    LOSSES[name].check(LOSSES[name].options)


@pytest.mark.parametrize("reads", [(), ("score",), ("teacher",), ("hidden", "scores"), ("hidden", "attention")])
def test_a_loss_that_reads_what_is_not_there_is_refused(reads):
    with pytest.raises(InputError, match="a loss reads"):
        Loss(soft_cross_entropy, reads)
