"""What a student's layers are held against: a teacher's layers (TinyBERT, MiniLM), over the same tokens.

A loss is a pure function ``loss(student, teacher, token_mask)`` for one pair of layers, with
``token_mask`` bool (n, t): True for a token, False for padding, whose content, even NaN, bears on neither loss nor
gradient. It returns a scalar, the mean over all tokens of the batch: a long text weighs more than a short one. Half
precision is widened to float32. Tensors that do not fit together raise :class:`InputError`.

TinyBERT is Jiao et al. 2020, whose loss of layers Simplified TinyBERT (Chen et al. 2020) keeps; MiniLM is Wang et al.
2020, MiniLMv2 Wang et al. 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from reranker_kd.distill.objectives.losses import at_least_float32, masked_kl, masked_mean
from reranker_kd.errors import InputError

Projection = Callable[[Tensor], Tensor]
"""From the student's width to the teacher's, (n, t, ds) -> (n, t, dt): a linear layer without bias in the papers."""


def hidden_loss(student: Tensor, teacher: Tensor, token_mask: Tensor, projection: Projection | None = None) -> Tensor:
    """Return the mean squared difference of hidden states, over tokens and widths (TinyBERT, eq. 8; of the embedding
    layers' outputs eq. 9).

    :param student: hidden states (n, t, ds)
    :param teacher: hidden states (n, t, dt)
    :param projection: from ds to dt, learnt along; None where both are equal
    """
    _check(token_mask, student, teacher, of_heads=False)
    padding = ~token_mask[:, :, None]
    # Filled first: a NaN in padding would reach the gradient of the projection's weights, even times 0.
    student = student.masked_fill(padding, 0.0)
    if projection is not None:
        student = projection(student)
    if student.shape != teacher.shape:
        raise InputError(
            f"hidden states are {student.shape[-1]} wide in the student and {teacher.shape[-1]} in the teacher: "
            f"give a projection from the student's width to the teacher's"
        )
    differences = at_least_float32(student) - at_least_float32(teacher.masked_fill(padding, 0.0))
    return masked_mean(differences.square(), ~padding.expand_as(differences))


def attention_loss(student: Tensor, teacher: Tensor, token_mask: Tensor) -> Tensor:
    """Return the mean squared difference of attention scores, over heads and pairs of tokens (TinyBERT, eq. 7).

    Head i learns from head i, so both need as many; :func:`relation_kl` of :func:`relations` does not.

    :param student: Q K^T / sqrt(d) before the softmax and before the mask is added, (n, heads, t, t)
    :param teacher: the same of the teacher
    """
    _check(token_mask, student, teacher, of_heads=True)
    pairs = (token_mask[:, None, :, None] & token_mask[:, None, None, :]).expand_as(student)
    student, teacher = (at_least_float32(scores.masked_fill(~pairs, 0.0)) for scores in (student, teacher))
    return masked_mean((student - teacher).square(), pairs)


def relation_kl(student: Tensor, teacher: Tensor, token_mask: Tensor) -> Tensor:
    """Return KL(softmax(teacher) || softmax(student)) of relations, the mean over heads and tokens (MiniLM, sec. 3).

    Of attention scores it is MiniLM's attention transfer (sec. 3.1); of :func:`relations` of values its value relation
    (sec. 3.2). Those of queries, keys and values together are MiniLMv2's loss.

    :param student: relations before the softmax (n, heads, t, t); the last dimension is that of the softmax
    :param teacher: the same of the teacher
    """
    _check(token_mask, student, teacher, of_heads=True)
    keys = token_mask[:, None, None, :]
    tokens = token_mask[:, None, :, None]
    student, teacher = (at_least_float32(scores.masked_fill(~(keys & tokens), 0.0)) for scores in (student, teacher))
    divergences = masked_kl(student, teacher, keys)
    return masked_mean(divergences, tokens.squeeze(-1).expand_as(divergences))


def relations(vectors: Tensor, heads: int) -> Tensor:
    """Return the scaled dot products of each two tokens' vectors, (n, heads, t, t), for :func:`relation_kl`.

    The attention heads' vectors are concatenated and split anew, so that a teacher and a student of other head counts
    and widths agree in the number of relation heads (MiniLMv2, sec. 3.1). With the model's own head count these are
    MiniLM's value relations (sec. 3.2).

    :param vectors: queries, keys or values of a layer (n, attention heads, t, d), finite in padding too
    :param heads: relation heads, which divide attention heads * d
    """
    if vectors.ndim != 4:
        raise InputError(f"vectors have shape {tuple(vectors.shape)}: give (texts, attention heads, tokens, width)")
    texts, attention_heads, tokens, width = vectors.shape
    if heads < 1 or attention_heads * width % heads:
        raise InputError(
            f"{attention_heads} attention heads of width {width} cannot be split into {heads} relation heads: "
            f"give a divisor of {attention_heads * width}"
        )
    joined = at_least_float32(vectors).transpose(1, 2).reshape(texts, tokens, heads, -1).transpose(1, 2)
    # Mixed precision would multiply in half precision again.
    with torch.autocast(vectors.device.type, enabled=False):
        return joined @ joined.transpose(2, 3) / joined.shape[-1] ** 0.5


def layer_mapping(
    student_layers: int, teacher_layers: int, strategy: str | Sequence[int] = "uniform"
) -> tuple[int, ...]:
    """Return the teacher's layer from which each layer of the student learns, both counted from 1.

    So g(m) stands at m - 1, and g(m) is the index of its output in the ``hidden_states`` of transformers, where 0 is
    the embedding layer, which learns from the embedding layer.

    :param strategy: ``uniform``, every k-th layer, g(m) = m * N / M (TinyBERT, sec. 3.1); ``last``, the last
        M layers, g(m) = N - M + m, which TinyBERT calls top; or the layers themselves, one for each of the student's
    :raises InputError: an unknown strategy, or layers that it cannot map
    """
    counts = f"{student_layers} student layers cannot be mapped to {teacher_layers} teacher layers"
    if not isinstance(strategy, str):
        explicit = tuple(strategy)
        if len(explicit) != student_layers or not all(1 <= layer <= teacher_layers for layer in explicit):
            raise InputError(f"{counts} by {list(explicit)}: give {student_layers} numbers from 1 to {teacher_layers}")
        return explicit
    if strategy not in ("uniform", "last"):
        raise InputError(f"unknown layer mapping {strategy!r}: give uniform, last or the teacher's layers")
    if not 1 <= student_layers <= teacher_layers:
        raise InputError(f"{counts}: take a student of 1 to {teacher_layers} layers")
    if strategy == "last":
        return tuple(range(teacher_layers - student_layers + 1, teacher_layers + 1))
    if teacher_layers % student_layers:
        raise InputError(f"{counts} uniformly, as they do not divide: name the teacher's layers, or take last")
    step = teacher_layers // student_layers
    return tuple(range(step, teacher_layers + 1, step))


def _check(token_mask: Tensor, student: Tensor, teacher: Tensor, *, of_heads: bool) -> None:
    if token_mask.dtype != torch.bool or token_mask.ndim != 2:
        shape = tuple(token_mask.shape)
        raise InputError(f"token_mask is {token_mask.dtype} of shape {shape}: give torch.bool of (texts, tokens)")
    texts, tokens = token_mask.shape
    for name, values in (("student", student), ("teacher", teacher)):
        fitting = (texts, *values.shape[1:2], tokens, tokens) if of_heads else (texts, tokens, *values.shape[-1:])
        if values.shape != fitting:
            raise InputError(
                f"{name} has shape {tuple(values.shape)}, the token mask {tuple(token_mask.shape)}: give "
                f"{'(texts, heads, tokens, tokens)' if of_heads else '(texts, tokens, width)'} and (texts, tokens), "
                "of the same texts and tokens"
            )
    if of_heads and student.shape[1] != teacher.shape[1]:
        raise InputError(
            f"the student has {student.shape[1]} heads, the teacher {teacher.shape[1]}: make them agree, "
            f"or take relation_kl of relations()"
        )
