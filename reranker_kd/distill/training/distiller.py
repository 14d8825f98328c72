"""A student while it learns: its scores and layers held against the teacher's, in one loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reranker_kd.distill.data.batches import Chunks, GroupBatch, Inputs, TextBatch
from reranker_kd.distill.methods import MASKED_LANGUAGE_MODEL, LossTerm, Stage
from reranker_kd.distill.objectives.embedding_losses import EMBEDDING_LOSSES
from reranker_kd.distill.objectives.layer_losses import (
    attention_loss,
    hidden_loss,
    layer_mapping,
    relation_kl,
    relations,
)
from reranker_kd.distill.objectives.losses import LOSSES, in_batch, rank_kl, targets
from reranker_kd.distill.objectives.masked_language_model import MaskedLanguageModel
from reranker_kd.distill.objectives.recording import LayerTeacher, Recorded, depth_of, recording
from reranker_kd.distill.students import Student
from reranker_kd.errors import RecipeError
from reranker_kd.models.twin import Twin


class Distiller(torch.nn.Module):
    """The network that is trained: the student, and what is learnt beside it and thrown away.

    :param student: its network is trained in place
    :param stage: which losses
    :param layer_teacher: reads the same tokens, for losses over layers; it is frozen
    :param teacher_width: numbers of an embedding of a teacher that is a bi-encoder, for losses over embeddings
    :param masked_language_model: the objective without a teacher, where the stage has it
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
        masked_language_model: MaskedLanguageModel | None = None,
    ) -> None:
        super().__init__()
        self.network = student.network
        self.stage = stage
        self.masked_language_model = masked_language_model
        self.projections = torch.nn.ModuleList()
        self._mapping: tuple[int, ...] = ()
        # No module of this one, so that it is neither trained nor saved with the student.
        self._teacher: LayerTeacher | None = None
        if stage.layer_losses:
            self._prepare_layers(student, layer_teacher)
        if "contrastive_kd" in stage.losses and not isinstance(student.network, Twin):
            raise RecipeError(
                "student.kind: contrastive_kd meets each query with every document of the batch, as only a twin can: "
                "take student.kind twin, or rank_kl"
            )
        if stage.embedding_losses:
            self._prepare_embeddings(student, teacher_width)

    def _prepare_layers(self, student: Student, teacher: LayerTeacher | None) -> None:
        if student.encoder is None or teacher is None:
            raise RecipeError(
                f"losses {', '.join(self.stage.layer_losses)} need a transformer as student and a model as teacher: "
                "take student.kind cross-encoder or gated-cross-encoder and teacher.model, or a method without layers"
            )
        ours, theirs = student.encoder.config, teacher.encoder.config
        if ours.vocab_size != theirs.vocab_size:
            raise RecipeError(
                f"student.start: its vocabulary has {ours.vocab_size} tokens, the teacher's {theirs.vocab_size}: "
                "layers are compared over the same tokens, so start from a model of the teacher's vocabulary"
            )
        if "attention" in self.stage.losses and ours.num_attention_heads != theirs.num_attention_heads:
            raise RecipeError(
                f"student.heads: {ours.num_attention_heads} heads cannot learn attention from the teacher's "
                f"{theirs.num_attention_heads}: make them equal, or take relation_kl in place of attention"
            )
        if "relation_kl" in self.stage.losses and ours.hidden_size % theirs.num_attention_heads:
            raise RecipeError(
                f"student.hidden_size: {ours.hidden_size} does not divide into the teacher's "
                f"{theirs.num_attention_heads} heads, which relation_kl compares: take a multiple of them"
            )
        self._mapping = layer_mapping(depth_of(student.encoder), depth_of(teacher.encoder), self.stage.layer_mapping)
        if ours.hidden_size != theirs.hidden_size and {"embedding", "hidden"} & self.stage.losses.keys():
            # One for the embeddings, one for all layers (TinyBERT, equations 8 and 9).
            self.projections.extend(torch.nn.Linear(ours.hidden_size, theirs.hidden_size, bias=False) for _ in range(2))
        self._encoder = (student.encoder,)
        teacher.network.eval().requires_grad_(False)
        self._teacher = teacher

    def _prepare_embeddings(self, student: Student, teacher_width: int | None) -> None:
        if not isinstance(student.network, Twin) or teacher_width is None:
            raise RecipeError(
                f"losses {', '.join(self.stage.embedding_losses)} need a twin as student and a bi-encoder as teacher: "
                "take student.kind twin and teacher.model, or a method without embeddings"
            )
        width = student.network.dimension()
        if width != teacher_width and "text_embedding" in self.stage.losses:
            self.projections.append(torch.nn.Linear(width, teacher_width, bias=False))

    def forward(self, batch: GroupBatch | None = None, texts: TextBatch | None = None) -> dict[str, Tensor]:
        """Return the loss and its parts.

        :param batch: groups, for a stage on groups
        :param texts: single texts, for a stage on texts
        """
        layers = _Sums()
        if batch is None:
            assert texts is not None
            parts = {}
            if self.masked_language_model is not None:
                assert texts.documents is not None
                parts[MASKED_LANGUAGE_MODEL] = self.masked_language_model(texts.documents)
            if self.stage.embedding_losses:
                parts |= self._embedding_losses(texts)
            if self.stage.layer_losses:
                assert texts.documents is not None
                for inputs in texts.documents.inputs:
                    self._encode_and_compare(inputs, layers)
        elif batch.pairs is not None:
            scores = self._pair_scores(batch.pairs, layers)
            parts = self._score_losses(_grid(scores, batch.mask), batch)
        else:
            parts = self._twin_losses(batch)
        parts |= layers.means()
        loss = sum(self.stage.losses[name].weight * value for name, value in parts.items())
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}

    def _pair_scores(self, pairs: Chunks, layers: _Sums) -> Tensor:
        rows = []
        for inputs in pairs.inputs:
            if self._teacher is not None:
                with recording(self._encoder[0]) as ours:
                    outputs = self.network(**inputs)
                self._compare(self._teacher.network, ours, inputs, layers)
            else:
                outputs = self.network(**inputs)
            rows.append(getattr(outputs, "logits", outputs)[:, 0].float())
        return _in_order(torch.cat(rows), pairs.order)

    def _embedding_losses(self, texts: TextBatch) -> dict[str, Tensor]:
        twin = self.network
        assert isinstance(twin, Twin) and texts.teacher is not None
        sides = [(twin.query_tower, texts.queries), (twin.document_tower, texts.documents)]
        vectors = torch.cat([_encode(tower, chunks) for tower, chunks in sides if chunks is not None])
        # Of length 1 whatever the crossing: so are the teacher's.
        vectors = torch.nn.functional.normalize(vectors.float(), dim=1)
        parts = {}
        for name, term in self.stage.embedding_losses.items():
            given: dict[str, Any] = dict(term.options)
            if name == "text_embedding" and len(self.projections):
                given["projection"] = self.projections[0]
            parts[name] = EMBEDDING_LOSSES[name](vectors, texts.teacher, **given)
        return parts

    def _encode_and_compare(self, inputs: Inputs, layers: _Sums) -> None:
        with recording(self._encoder[0]) as ours:
            self._encoder[0](**inputs)
        assert self._teacher is not None
        self._compare(self._teacher.encoder, ours, inputs, layers)

    def _compare(self, teacher: Any, ours: Recorded, inputs: Inputs, layers: _Sums) -> None:
        assert self._teacher is not None
        with torch.no_grad(), recording(self._teacher.encoder) as theirs:
            teacher(**inputs)
        mask = inputs["attention_mask"].bool()
        weight = int(mask.sum())
        embedding, hidden = self.projections if len(self.projections) else (None, None)
        for name in self.stage.layer_losses:
            if name == "embedding":
                values = [hidden_loss(ours.hidden[0], theirs.hidden[0], mask, embedding)]
            elif name == "hidden":
                values = [
                    hidden_loss(ours.hidden[m], theirs.hidden[g], mask, hidden)
                    for m, g in enumerate(self._mapping, start=1)
                ]
            elif name == "attention":
                values = [
                    attention_loss(ours.attention_scores(m), theirs.attention_scores(g), mask)
                    for m, g in enumerate(self._mapping, start=1)
                ]
            else:
                values = self._relation_losses(ours, theirs, mask)
            layers.add(name, sum(values), weight)

    def _relation_losses(self, ours: Recorded, theirs: Recorded, mask: Tensor) -> list[Tensor]:
        # MiniLMv2: the last mapped layer alone, of queries, keys and values.
        m, g, heads = len(self._mapping), self._mapping[-1], theirs.queries[0].shape[1]
        both = [(ours.queries, theirs.queries), (ours.keys, theirs.keys), (ours.values, theirs.values)]
        return [
            relation_kl(relations(student[m - 1], heads), relations(teacher[g - 1], heads), mask)
            for student, teacher in both
        ]

    def _twin_losses(self, batch: GroupBatch) -> dict[str, Tensor]:
        twin, (queries, documents) = self.network, (batch.queries, batch.documents)
        assert isinstance(twin, Twin) and queries is not None and documents is not None
        query_vectors = twin.crossing.prepare(_encode(twin.query_tower, queries))
        document_vectors = twin.crossing.prepare(_encode(twin.document_tower, documents))
        rows = batch.mask.nonzero()[:, 0]
        scores = twin.crossing.logits(twin.crossing(query_vectors[rows], document_vectors))
        parts = self._score_losses(_grid(scores, batch.mask), batch, skip="contrastive_kd")
        if "contrastive_kd" in self.stage.losses:
            parts["contrastive_kd"] = self._contrastive(
                self.stage.losses["contrastive_kd"], batch, _grid(scores, batch.mask), query_vectors, document_vectors
            )
        return parts

    def _contrastive(
        self, term: LossTerm, batch: GroupBatch, own: Tensor, queries: Tensor, documents: Tensor
    ) -> Tensor:
        """The teacher knows a query's own candidates alone: soft there, hard against the whole batch."""
        assert isinstance(self.network, Twin)
        crossing = self.network.crossing
        flat = batch.mask.flatten()
        every = own.new_zeros(len(queries), len(flat))
        q, d = len(queries), len(documents)
        pairs = crossing(queries.repeat_interleave(d, dim=0), documents.repeat(q, 1))
        every[:, flat] = crossing.logits(pairs).view(q, d)
        best = batch.teacher.nan_to_num(nan=-torch.inf).masked_fill(~batch.mask, -torch.inf).argmax(1)
        labels = torch.zeros_like(batch.teacher).scatter(1, best[:, None], 1.0)
        labels = torch.where(batch.labels.isnan(), labels, batch.labels)
        spread, mask = in_batch(batch.docids, labels, batch.mask)
        options = dict(term.options)
        alpha = options.pop("alpha", 0.5)
        temperature = options.pop("temperature", 1.0)
        hard = LOSSES["contrastive_kd"](student=every, teacher=None, labels=spread, mask=mask, **options)
        known = batch.mask & ~batch.teacher.isnan()
        soft = rank_kl(own, batch.teacher.nan_to_num(), known, temperature=temperature)
        return alpha * soft + (1 - alpha) * hard

    def _score_losses(self, scores: Tensor, batch: GroupBatch, skip: str = "") -> dict[str, Tensor]:
        given = {"teacher": batch.teacher.nan_to_num(), "labels": batch.labels}
        # Where the teacher has no opinion, only labels teach.
        known = batch.mask & ~batch.teacher.isnan()
        return {
            name: LOSSES[name](
                student=scores,
                mask=known if "teacher" in targets(name) else batch.mask,
                **{target: given[target] for target in targets(name)},
                **term.options,
            )
            for name, term in self.stage.losses.items()
            if name in LOSSES and name != skip
        }

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # A teacher that is not registered still goes where the student goes.
        if self._teacher is not None:
            self._teacher.network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what a checkpoint keeps: a tower that serves both sides is in it once."""
        state = super().state_dict(*arguments, **keywords)
        if isinstance(self.network, Twin) and self.network.shared:
            return {name: value for name, value in state.items() if not name.startswith("network.document_tower.")}
        return state


class _Sums:
    """Means over batches of different sizes."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._weights: dict[str, int] = {}

    def add(self, name: str, value: Any, weight: int) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value * weight
        self._weights[name] = self._weights.get(name, 0) + weight

    def means(self) -> dict[str, Tensor]:
        return {name: value / self._weights[name] for name, value in self._sums.items()}


def _encode(tower: Any, chunks: Chunks) -> Tensor:
    return _in_order(torch.cat([tower(**inputs) for inputs in chunks.inputs]), chunks.order)


def _in_order(rows: Tensor, order: Tensor) -> Tensor:
    return torch.empty_like(rows).index_copy(0, order, rows)


def _grid(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.new_zeros(mask.shape).masked_scatter(mask, scores)
