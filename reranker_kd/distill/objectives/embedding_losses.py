"""What a twin's embeddings are held against: those of a teacher that is a bi-encoder, text by text.

A text teaches by all numbers of its vector, where a pair teaches by one: the fastest start for a twin. Both functions
take embeddings of length 1, (n, d) each, compute in float32 and return a scalar.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, normalize

from reranker_kd.distill.objectives.losses import at_least_float32, check_temperature
from reranker_kd.errors import InputError


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
    check_temperature(temperature)
    with torch.autocast(student.device.type, enabled=False):
        ours, theirs = (_others(at_least_float32(rows), temperature) for rows in (student, teacher))
    return kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _others(embeddings: Tensor, temperature: float) -> Tensor:
    count = len(embeddings)
    cosines = embeddings @ embeddings.T / temperature
    # The text itself is left out by its place, so that no infinity comes near the gradient.
    off_diagonal = ~torch.eye(count, dtype=torch.bool, device=embeddings.device)
    return log_softmax(cosines[off_diagonal].view(count, count - 1), dim=1)
