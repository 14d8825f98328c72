"""A student while it learns: its scores and layers held against the teacher's, in one loss."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reranker_kd.distill.data.batches import Chunks, GroupBatch, Inputs, TextBatch
from reranker_kd.distill.methods import Stage
from reranker_kd.distill.objectives.layer_losses import layer_mapping
from reranker_kd.distill.objectives.masked_language_model import MaskedLanguageModel
from reranker_kd.distill.objectives.recording import LAYERS, LayerTeacher, layers_of, recording
from reranker_kd.distill.objectives.registry import GROUPS, LOSSES
from reranker_kd.distill.students import Student
from reranker_kd.errors import RecipeError

_Layers = defaultdict[str, list[tuple[Tensor, int]]]
"""The values of losses over layers, each with the number of its tokens."""


class Distiller(torch.nn.Module):
    """The network that is trained: the student, and what is learnt beside it and thrown away.

    :param student: its network is trained in place
    :param stage: which losses
    :param layer_teacher: reads the same tokens, for losses over layers; it is frozen
    :param teacher_width: numbers of an embedding of a teacher that is a bi-encoder, for losses over embeddings
    :raises RecipeError: losses that this student or teacher cannot have
    """

    # The Trainer asks for it where it loads the best checkpoint.
    _keys_to_ignore_on_save = None

    def __init__(
        self,
        student: Student,
        stage: Stage,
        layer_teacher: LayerTeacher | None = None,
        teacher_width: int | None = None,
    ) -> None:
        super().__init__()
        self.network: Any = student.network
        self.projections = torch.nn.ModuleDict()
        self.masked_language_model: MaskedLanguageModel | None = None
        self._losses = {name: LOSSES[name] for name in stage.losses}
        self._terms = stage.losses
        self._reads = stage.reads
        # No module of this one, so that it is neither trained nor saved with the student.
        self._teacher: LayerTeacher | None = None
        if self._reading(LAYERS):
            self._prepare_layers(student, stage, layer_teacher)
        reads_texts = student.kind.reads == "texts"
        if (names := self._reading({"similarities"})) and not reads_texts:
            raise RecipeError(
                f"student.kind: {', '.join(names)} meets each query with every document of the batch, as only a "
                "student that reads texts apart can: take one, or another loss, such as rank_kl"
            )
        if names := self._reading({"embeddings"}):
            if not reads_texts or teacher_width is None:
                raise RecipeError(
                    f"losses {', '.join(names)} need a student that reads texts apart (student.kind) and a bi-encoder "
                    "as teacher (teacher.model): or take a method without embeddings"
                )
            self._prepare_projections({"embeddings"}, cast(Any, student.network).dimension(), teacher_width)
        if self._reading({"masked_tokens"}):
            self.masked_language_model = MaskedLanguageModel(student.encoder, student.tokenizer)

    def _reading(self, readings: Any) -> list[str]:
        """Return the names of the losses that read any of these."""
        return [name for name, loss in self._losses.items() if not set(readings).isdisjoint(loss.reads)]

    def _prepare_layers(self, student: Student, stage: Stage, teacher: LayerTeacher | None) -> None:
        if student.encoder is None or teacher is None:
            raise RecipeError(
                f"losses {', '.join(self._reading(LAYERS))} need a transformer that reads pairs as student "
                "(student.kind) and a model as teacher (teacher.model): or take a method without layers"
            )
        ours, theirs = student.encoder.config, teacher.encoder.config
        if ours.vocab_size != theirs.vocab_size:
            raise RecipeError(
                f"student.start: its vocabulary has {ours.vocab_size} tokens, the teacher's {theirs.vocab_size}: "
                "layers are compared over the same tokens, so start from a model of the teacher's vocabulary"
            )
        if "attention" in self._reads and ours.num_attention_heads != theirs.num_attention_heads:
            raise RecipeError(
                f"student.heads: {ours.num_attention_heads} heads cannot learn attention from the teacher's "
                f"{theirs.num_attention_heads}: make them equal, or take relation_kl in place of attention"
            )
        if "relations" in self._reads and ours.hidden_size % theirs.num_attention_heads:
            raise RecipeError(
                f"student.hidden_size: {ours.hidden_size} does not divide into the teacher's "
                f"{theirs.num_attention_heads} heads, whose relations are compared: take a multiple of them"
            )
        our_depth, their_depth = (len(layers_of(encoder)) for encoder in (student.encoder, teacher.encoder))
        self._mapping = layer_mapping(our_depth, their_depth, stage.layer_mapping)
        # One for the embeddings, one for all layers (TinyBERT, equations 8 and 9).
        self._prepare_projections(LAYERS, ours.hidden_size, theirs.hidden_size)
        self._encoder = (student.encoder,)
        teacher.network.eval().requires_grad_(False)
        self._teacher = teacher

    def _prepare_projections(self, readings: Any, ours: int, theirs: int) -> None:
        for name in self._reading(readings):
            loss = self._losses[name]
            if ours != theirs and loss.projection and loss.reads[0] not in self.projections:
                self.projections[loss.reads[0]] = torch.nn.Linear(ours, theirs, bias=False)

    def forward(self, batch: GroupBatch | None = None, texts: TextBatch | None = None) -> dict[str, Tensor]:
        """Return the loss and its parts.

        :param batch: groups, for a stage on groups
        :param texts: single texts, for a stage on texts
        """
        layers: _Layers = defaultdict(list)
        if batch is None:
            assert texts is not None
            parts = self._text_losses(texts, layers)
        elif batch.pairs is not None:
            scores = self._pair_scores(batch.pairs, layers)
            parts = self._group_losses(batch, scores)
        else:
            parts = self._group_losses(batch, *self._scores_of_texts(batch))
        for name, kept in layers.items():
            total: Any = sum(value * tokens for value, tokens in kept)
            parts[name] = total / sum(tokens for _, tokens in kept)
        loss = torch.stack([self._terms[name].weight * value for name, value in parts.items()]).sum()
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}

    def _call(self, name: str, **given: Tensor) -> Tensor:
        loss = self._losses[name]
        own = {"projection": self.projections[loss.reads[0]]} if loss.reads[0] in self.projections else {}
        return loss.function(**given, **(own if loss.projection else {}), **self._terms[name].options)

    def _text_losses(self, texts: TextBatch, layers: _Layers) -> dict[str, Tensor]:
        parts = {}
        if self.masked_language_model is not None:
            assert texts.documents is not None
            logits, labels = self.masked_language_model(texts.documents)
            parts = {name: self._call(name, student=logits, labels=labels) for name in self._reading({"masked_tokens"})}
        if "embeddings" in self._reads:
            assert texts.teacher is not None
            twin: Any = self.network
            sides = [(twin.query_tower, texts.queries), (twin.document_tower, texts.documents)]
            vectors = torch.cat([_encode(tower, chunks) for tower, chunks in sides if chunks is not None])
            # Of length 1 whatever the crossing: so are the teacher's.
            vectors = normalize(vectors.float(), dim=1)
            for name in self._reading({"embeddings"}):
                parts[name] = self._call(name, student=vectors, teacher=texts.teacher)
        if self._teacher is not None:
            assert texts.documents is not None
            for inputs in texts.documents.inputs:
                self._read(inputs, self._encoder[0], self._teacher.encoder, layers)
        return parts

    def _pair_scores(self, pairs: Chunks, layers: _Layers) -> Tensor:
        reader = self._teacher and self._teacher.network
        rows = [self._read(inputs, self.network, reader, layers)[:, 0].float() for inputs in pairs.inputs]
        return _in_order(torch.cat(rows), pairs.order)

    def _read(self, inputs: Inputs, reader: Any, teacher: Any, layers: _Layers) -> Any:
        """Return what the student's reader makes of inputs; its layers are held against those of the teacher's."""
        if self._teacher is None:
            return reader(**inputs)
        with recording(self._encoder[0]) as ours:
            outputs = reader(**inputs)
        with torch.no_grad(), recording(self._teacher.encoder) as theirs:
            teacher(**inputs)
        mask = inputs["attention_mask"].bool()
        for name in self._reading(LAYERS):
            compared = LAYERS[self._losses[name].reads[0]](ours, theirs, self._mapping)
            values = [self._call(name, student=one, teacher=other, token_mask=mask) for one, other in compared]
            layers[name].append((torch.stack(values).sum(), int(mask.sum())))
        return outputs

    def _scores_of_texts(self, batch: GroupBatch) -> tuple[Tensor, Tensor | None]:
        """Return the scores of all candidates (n,) and, where a loss reads them, the similarities (q, q * c)."""
        twin: Any = self.network
        assert batch.queries is not None and batch.documents is not None
        queries = twin.crossing.prepare(_encode(twin.query_tower, batch.queries))
        documents = twin.crossing.prepare(_encode(twin.document_tower, batch.documents))
        scores = twin.crossing.logits(twin.crossing(queries[batch.mask.nonzero()[:, 0]], documents))
        if "similarities" not in self._reads:
            return scores, None
        q, d = len(queries), len(documents)
        every = twin.crossing.logits(twin.crossing(queries.repeat_interleave(d, dim=0), documents.repeat(q, 1)))
        similarities = scores.new_zeros(q, batch.mask.numel())
        similarities[:, batch.mask.flatten()] = every.view(q, d)
        return scores, similarities

    def _group_losses(self, batch: GroupBatch, scores: Tensor, similarities: Tensor | None = None) -> dict[str, Tensor]:
        read: dict[str, dict[str, Any]] = {
            "scores": {"student": scores.new_zeros(batch.mask.shape).masked_scatter(batch.mask, scores)},
            "teacher": {"teacher": batch.teacher.nan_to_num()},
            "labels": {"labels": batch.labels},
            "similarities": {"similarities": similarities, "docids": batch.docids},
        }
        # Where the teacher has no opinion, only labels teach.
        known = batch.mask & ~batch.teacher.isnan()
        parts = {}
        for name in self._reading(GROUPS):
            reads = self._losses[name].reads
            given = {key: value for reading in reads for key, value in read[reading].items()}
            parts[name] = self._call(name, mask=known if "teacher" in reads else batch.mask, **given)
        return parts

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # A teacher that is not registered still goes where the student goes.
        if self._teacher is not None:
            self._teacher.network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what a checkpoint keeps: a tower that serves both sides is in it once."""
        return distinct(super().state_dict(*arguments, **keywords))


def distinct(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return each of the weights once: two names of one tower or table are one entry, the first."""
    first = {value.data_ptr(): name for name, value in reversed(weights.items())}
    return {name: value for name, value in weights.items() if first[value.data_ptr()] == name or not value.numel()}


def _encode(tower: Any, chunks: Chunks) -> Tensor:
    return _in_order(torch.cat([tower(**inputs) for inputs in chunks.inputs]), chunks.order)


def _in_order(rows: Tensor, order: Tensor) -> Tensor:
    return torch.empty_like(rows).index_copy(0, order, rows)
