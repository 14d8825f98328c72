"""What happens inside a transformer while it runs: hidden states, queries, keys and values of its attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from reranker_kd.distill.objectives.layer_losses import relations
from reranker_kd.errors import RecipeError


@dataclass
class Recorded:
    """The insides of one run.

    :param hidden: outputs of the embedding layer and of each layer, (n, tokens, width)
    :param queries: of each layer, (n, heads, tokens, width of a head)
    :param keys: likewise
    :param values: likewise
    """

    hidden: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def attention_scores(self, layer: int) -> Tensor:
        """Return Q K^T / sqrt(d) of a layer counted from 1, (n, heads, tokens, tokens), before mask and softmax."""
        queries, keys = self.queries[layer - 1], self.keys[layer - 1]
        return queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5


def _relations(ours: Recorded, theirs: Recorded, mapping: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    # MiniLMv2: the last mapped layer alone, in as many relation heads as the teacher has heads.
    m, g, heads = len(mapping) - 1, mapping[-1] - 1, theirs.queries[0].shape[1]
    both = [(ours.queries, theirs.queries), (ours.keys, theirs.keys), (ours.values, theirs.values)]
    return [(relations(student[m], heads), relations(teacher[g], heads)) for student, teacher in both]


LAYERS: dict[str, Callable[[Recorded, Recorded, tuple[int, ...]], list[tuple[Tensor, Tensor]]]] = {
    "embedding_layer": lambda ours, theirs, _: [(ours.hidden[0], theirs.hidden[0])],
    "hidden": lambda ours, theirs, mapping: [
        (ours.hidden[m], theirs.hidden[g]) for m, g in enumerate(mapping, start=1)
    ],
    "attention": lambda ours, theirs, mapping: [
        (ours.attention_scores(m), theirs.attention_scores(g)) for m, g in enumerate(mapping, start=1)
    ],
    "relations": _relations,
}
"""What losses over layers read: hidden states (n, t, d) of the embedding layer or of all mapped layers, attention
scores before the softmax or relations of queries, keys and values (n, heads, t, t). Each takes what the student and the
teacher recorded, and what :func:`~reranker_kd.distill.objectives.layer_losses.layer_mapping` returns."""


@dataclass(frozen=True, slots=True)
class LayerTeacher:
    """Whose layers are learnt.

    :param network: reads pairs as the student does, with ``encoder`` in it
    :param encoder: its transformer, which reads single texts
    """

    network: Any
    encoder: Any


@contextmanager
def recording(encoder: Any) -> Iterator[Recorded]:
    """Record what a BERT or one of its kin (ELECTRA, RoBERTa, ...) computes within the block.

    transformers gives attention after the softmax, and in eager mode alone; hooks on the projections see more, at no
    cost where fused attention runs.
    """
    recorded, layers = Recorded(), layers_of(encoder)
    heads = encoder.config.num_attention_heads

    def keep_hidden(_module: Any, _inputs: Any, output: Any) -> None:
        recorded.hidden.append(output[0] if isinstance(output, tuple) else output)

    def keep_in(kept: list[Tensor]) -> Any:
        def keep(_module: Any, _inputs: Any, output: Tensor) -> None:
            rows, tokens, width = output.shape
            kept.append(output.view(rows, tokens, heads, width // heads).transpose(1, 2))

        return keep

    watched = [(getattr(encoder, "embeddings_project", encoder.embeddings), keep_hidden)]
    for layer in layers:
        attention = layer.attention.self
        watched += [
            (layer, keep_hidden),
            (attention.query, keep_in(recorded.queries)),
            (attention.key, keep_in(recorded.keys)),
            (attention.value, keep_in(recorded.values)),
        ]
    with ExitStack() as hooks:
        for module, keep in watched:
            hooks.enter_context(module.register_forward_hook(keep))
        yield recorded


def layers_of(encoder: Any) -> Any:
    """Return a transformer's layers.

    :raises RecipeError: it is not built like a BERT, so that its layers cannot be recorded
    """
    layers = getattr(getattr(encoder, "encoder", None), "layer", None)
    # MPNet and DeBERTa have layers too, whose projections bear other names.
    attention = getattr(getattr(layers[0], "attention", None), "self", None) if layers else None
    if not all(hasattr(attention, name) for name in ("query", "key", "value")):
        raise RecipeError(f"layers of a {type(encoder).__name__} cannot be recorded: take a BERT or one of its kin")
    return layers
