"""What a student's scores or embeddings are held against: a teacher's, or human labels.

A loss is a pure function that takes ``student`` and ``mask``, and of what follows that which it reads; its keyword-only
arguments are its options. It returns a scalar.

- ``student`` and ``teacher``, (q, c): scores of c candidates for each of q queries, on the scale of a logit. For a
  classifier of two classes that is the difference of its logits: softmax(z)_1 = sigmoid(z_1 - z_0).
- ``mask``, (q, c), bool: True where a candidate exists. What stands elsewhere, even NaN, bears on neither loss nor
  gradient.
- ``labels``, (q, c): human grades, above 0 relevant, NaN where nobody judged.
- ``similarities``, (q, q * c): scores of each query with the candidates of all queries of the batch, group after group.
- ``docids``, (q, c): whole numbers, equal where the document is the same, below 0 where there is no candidate.

Losses over embeddings take ``student`` and ``teacher``, (n, d), of length 1. A text teaches by all numbers of its
vector, where a pair teaches by one: the fastest start for a twin.

A loss is the mean over what is valid: candidates, pairs or groups, as it says; of nothing it is 0, with gradient 0.
bfloat16 and float16 are widened, so that every loss computes in float32 at least. Tensors that do not fit together
raise :class:`InputError`, and so does an option out of its range.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div, log_softmax, normalize, softplus

from reranker_kd.errors import InputError


def soft_cross_entropy(student: Tensor, teacher: Tensor, mask: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return the binary cross-entropy of sigmoid(s / T) against sigmoid(t / T), times T^2 (Hinton et al. 2015, sec. 2).

    The mean over candidates; least, the teacher's entropy, where the scores are equal. TwinBERT (Lu et al. 2020) and
    TinyBERT (Jiao et al. 2020, eq. 10) learn so, of two classes. T^2 keeps the gradient's size as T changes.
    """
    _check_temperature(temperature)
    student, teacher = _scores(mask, student=student, teacher=teacher)
    soft_labels = (teacher / temperature).sigmoid()
    losses = binary_cross_entropy_with_logits(student / temperature, soft_labels, reduction="none")
    return masked_mean(losses, mask) * temperature**2


def hard_cross_entropy(student: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Return the binary cross-entropy of sigmoid(s) against human labels: the mean over judged candidates."""
    student, labels = _scores(mask, student=student, labels=labels)
    relevant = (labels > 0).to(student.dtype)
    losses = binary_cross_entropy_with_logits(student, relevant, reduction="none")
    return masked_mean(losses, mask & ~labels.isnan())


def logit_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of scores, over candidates (Tang et al. 2019, sec. 3.2).

    So learns BertBiLSTM (Dahlmann and Lancewicki 2021). It is the limit of soft targets at a high temperature, for
    logits of mean 0 (Hinton et al. 2015, sec. 2.1).
    """
    student, teacher = _scores(mask, student=student, teacher=teacher)
    return masked_mean((student - teacher).square(), mask)


def margin_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ((s_i - s_j) - (t_i - t_j))^2 over all pairs of a group (Margin-MSE, Hofstätter et al. 2020).

    The paper has a positive and a negative passage for a query: groups of two give its loss. In larger groups every
    pair counts once, those of two negatives too; groups weigh by their pairs.
    """
    student, teacher = _scores(mask, student=student, teacher=teacher)
    return masked_mean(_differences(student - teacher).square(), _pairs(mask).triu(diagonal=1))


def rank_kl(student: Tensor, teacher: Tensor, mask: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return KL(softmax(t / T) || softmax(s / T)) over each group, times T^2: the mean over groups of two or more.

    The distributions are ListNet's top-one probabilities (Cao et al. 2007, sec. 4), which TCT-ColBERT (Lin et al.
    2020) distils; T^2 as in Hinton et al. 2015, sec. 2.
    """
    _check_temperature(temperature)
    student, teacher = _scores(mask, student=student, teacher=teacher)
    divergences = masked_kl(student / temperature, teacher / temperature, mask)
    return masked_mean(divergences, mask.sum(1) > 1) * temperature**2


def ranknet(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of log(1 + exp(s_j - s_i)) over the pairs with t_i > t_j (RankNet, Burges et al. 2005, sec. 3).

    Of the teacher only the order counts, as where RankGPT distils permutations (Sun et al. 2023, sec. 4). Pairs that
    the teacher ties are left out; groups weigh by their pairs.
    """
    student, teacher = _scores(mask, student=student, teacher=teacher)
    return masked_mean(softplus(-_differences(student)), _pairs(mask) & (_differences(teacher) > 0))


def contrastive_kd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    similarities: Tensor,
    docids: Tensor,
    *,
    temperature: float = 1.0,
    alpha: float = 0.5,
    scale: float = 1.0,
) -> Tensor:
    """Return alpha * soft + (1 - alpha) * hard: in-batch negatives beside the teacher (TCT-ColBERTv2, Lin et al. 2021).

    *soft* is :func:`rank_kl` over a query's own candidates, the only ones that the teacher knows. *hard* is the
    cross-entropy of the softmax over the documents of the whole batch, at temperature 1, against the relevant ones in
    equal shares: the mean over queries that have one (DPR, Karpukhin et al. 2020, eq. 2). Relevant are documents with
    labels above 0, and where nobody judged the teacher's best; all others count as negative.

    :param alpha: weight of *soft*, 0 to 1
    :param scale: multiplies the similarities: 1 for logits, the likes of 20 for cosines
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}: give a weight from 0 to 1")
    _check(mask, labels=labels, docids=docids)
    soft = rank_kl(student, teacher, mask, temperature=temperature)
    best = teacher.masked_fill(~mask, -torch.inf).argmax(1, keepdim=True)
    labels = labels.where(~labels.isnan(), torch.zeros_like(labels).scatter(1, best, 1.0))
    everyones, allowed = in_batch(docids, labels, docids >= 0)
    similarities, everyones = _scores(allowed, similarities=at_least_float32(similarities) * scale, labels=everyones)
    positive = everyones > 0
    counts = positive.sum(1)
    shares = positive / counts.clamp(min=1)[:, None]
    hard = masked_mean(-(shares * _log_softmax(similarities, allowed)).sum(1), counts > 0)
    return alpha * soft + (1 - alpha) * hard


def in_batch(documents: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels and mask (q, q * c) of each query against the candidates of all, for :func:`contrastive_kd`.

    A document of the query's own group counts there alone: where another group holds it too, it is masked, since it
    may be relevant. Candidates of other groups are unjudged.

    :param documents: whole numbers (q, c), equal where the document is the same
    :param labels: grades (q, c)
    :param mask: candidates (q, c)
    """
    _check(mask, documents=documents, labels=labels)
    queries, candidates = mask.shape
    own = torch.eye(queries, dtype=torch.bool, device=mask.device).repeat_interleave(candidates, dim=1)
    in_own_group = ((documents[:, :, None] == documents.flatten()) & mask[:, :, None]).any(1)
    return labels.flatten().where(own, torch.nan), mask.flatten() & (own | ~in_own_group)


def text_embedding(student: Tensor, teacher: Tensor, projection: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Return the mean squared distance of embeddings, 2 - 2 cos (Reimers and Gurevych 2020, arXiv 2004.09813, eq. 1).

    :param student: embeddings (n, ds)
    :param teacher: embeddings (n, dt)
    :param projection: from ds to dt, learnt along and thrown away; None where both are equal
    """
    student = at_least_float32(student)
    if projection is not None:
        student = normalize(projection(student), dim=1)
    if student.shape != teacher.shape:
        raise InputError(f"embeddings of shapes {tuple(student.shape)} and {tuple(teacher.shape)}: give a projection")
    return (student - at_least_float32(teacher)).square().sum(1).mean()


def text_similarity(student: Tensor, teacher: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Return KL of the teacher's to the student's distribution over the batch's other texts, the mean over texts.

    What a text is like is kept, whatever the width: the cosines to all other texts of the batch, divided by the
    temperature, make a softmax (the relations of SEED, Fang et al. 2021, eq. 4, with the batch for a queue).

    :param student: embeddings (n, ds), n of at least 3
    :param teacher: embeddings (n, dt)
    """
    _check_temperature(temperature)
    with torch.autocast(student.device.type, enabled=False):
        ours, theirs = (_others(at_least_float32(rows), temperature) for rows in (student, teacher))
    return kl_div(ours, theirs, reduction="batchmean", log_target=True)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of the values where ``valid``, of the same shape, is True; 0 where it never is."""
    return values.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)


def masked_kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return KL(softmax(teacher) || softmax(student)) over the last dimension's places where ``mask`` is True.

    :param student: finite logits (..., k)
    :param teacher: finite logits (..., k)
    :param mask: bool, broadcast to (..., k); 0 where it leaves no place
    :return: (...)
    """
    theirs, ours = _log_softmax(teacher, mask), _log_softmax(student, mask)
    return (theirs.exp() * (theirs - ours)).sum(-1)


def at_least_float32(values: Tensor) -> Tensor:
    """Return the values in float32, or as they are where that is wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _log_softmax(values: Tensor, mask: Tensor) -> Tensor:
    # The lowest finite number, as -inf makes NaN of a row without a place. What is left out reads 0.
    lowest = torch.finfo(values.dtype).min
    return log_softmax(values.masked_fill(~mask, lowest), dim=-1).masked_fill(~mask, 0.0)


def _others(embeddings: Tensor, temperature: float) -> Tensor:
    count = len(embeddings)
    cosines = embeddings @ embeddings.T / temperature
    # The text itself is left out by its place, so that no infinity comes near the gradient.
    off_diagonal = ~torch.eye(count, dtype=torch.bool, device=embeddings.device)
    return log_softmax(cosines[off_diagonal].view(count, count - 1), dim=1)


def _differences(values: Tensor) -> Tensor:
    # (q, c, c): at i, j the value of i less that of j.
    return values[:, :, None] - values[:, None, :]


def _pairs(mask: Tensor) -> Tensor:
    return mask[:, :, None] & mask[:, None, :]


def _scores(mask: Tensor, **given: Tensor) -> tuple[Tensor, ...]:
    # Filled before anything is computed: a gradient that passes through a NaN is NaN, even times 0.
    _check(mask, **given)
    return tuple(at_least_float32(values.masked_fill(~mask, 0)) for values in given.values())


def _check(mask: Tensor, **given: Tensor) -> None:
    if mask.dtype != torch.bool or mask.ndim != 2:
        raise InputError(f"mask is {mask.dtype} of shape {tuple(mask.shape)}: give torch.bool of (queries, candidates)")
    for name, values in given.items():
        if values.shape != mask.shape:
            raise InputError(
                f"{name} has shape {tuple(values.shape)}, the mask {tuple(mask.shape)}: give both (queries, candidates)"
            )


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}: give a number above 0")
