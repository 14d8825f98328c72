"""BertBiLSTM (Dahlmann and Lancewicki 2021, arXiv 2108.10197): a bidirectional LSTM over word pieces, for CPUs.

The idea is the paper's (abstract): a BERT fine-tuned on query-title pairs teaches a compact LSTM network, which takes
at most 0.2 ms a pair on a CPU. The abstract names no layers; these are our choice: the pair framed as a BERT tokenizer
frames it, segment embeddings, the pooling of Lin et al. 2017 (arXiv 1703.03130), a ReLU layer before one score, all
sizes by default, and the start from a BERT's word embeddings, reduced where they are wider. With ``matching`` the score
has a second part, late interaction (see ``late_interaction.py``) of the query's and the document's tokens, each by its
word embedding plus a projection of its LSTM state: a pooled pair alone needs far more text to learn that words match.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field

from reranker_kd.errors import ModelError, RecipeError
from reranker_kd.models.kind import Kind, Shape, Start
from reranker_kd.models.late_interaction import MatchingNetwork
from reranker_kd.models.shrinking import leading_directions


class BertBiLSTMShape(Shape):
    """The shape of a BertBiLSTM.

    :param vocabulary_size: word pieces of the tokenizer; None takes the start's
    :param embedding_size: width of a word piece's embedding; None takes 128, or the start's where that is less
    :param hidden_size: width of an LSTM's state, for each of the two directions
    :param layers: bidirectional LSTM layers, one upon the other
    :param attention_size: width of the layer that weighs the tokens
    :param classifier_size: width of the layer before the score
    :param segments: whether an embedding of the token type marks query and document
    :param matching: whether the query's tokens are compared with the document's, beside what is pooled
    """

    kind: Literal["bert-bilstm"] = "bert-bilstm"
    vocabulary_size: int | None = Field(default=None, ge=1)
    embedding_size: int | None = Field(default=None, ge=1)
    hidden_size: int = Field(default=256, ge=1)
    layers: int = Field(default=1, ge=1)
    attention_size: int = Field(default=128, ge=1)
    classifier_size: int = Field(default=256, ge=1)
    segments: bool = True
    matching: bool = False


class SelfAttentivePooling(torch.nn.Module):
    """The weighted average of token vectors, with weights ``softmax(w2 tanh(W1 h))`` (Lin et al. 2017).

    :param width: of a token vector
    :param inner: width of ``W1``'s output
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(width, inner)
        self.weigh = torch.nn.Linear(inner, 1, bias=False)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (n, width) of vectors (tokens, n, width) and their mask (n, tokens), in float32."""
        raw = self.weigh(torch.tanh(self.inner(vectors))).squeeze(2).T.float()
        weights = raw.masked_fill(mask == 0, -torch.inf).softmax(dim=1)
        return (weights[:, None] @ vectors.transpose(0, 1).float()).squeeze(1)


class BertBiLSTM(MatchingNetwork):
    """From token arrays (n, tokens) to raw relevance scores (n, 1), in float32.

    Padding stands behind the tokens of a row and does not bear on its score: the backward LSTM is a forward one
    over each row's tokens in reverse, so that both meet the padding last. That needs no packing, in training as in
    inference, and lets the fused LSTM kernels run (oneDNN's on a CPU, cuDNN's on a GPU), which do not take rows of
    different lengths.
    """

    def __init__(self, shape: BertBiLSTMShape) -> None:
        super().__init__(shape)
        if shape.vocabulary_size is None or shape.embedding_size is None:
            raise ModelError("config.json lacks vocabulary_size or embedding_size: save the model again")
        inputs = [shape.embedding_size, *[2 * shape.hidden_size] * (shape.layers - 1)]
        self.words = torch.nn.Embedding(shape.vocabulary_size, shape.embedding_size)
        self.segments = torch.nn.Embedding(2, shape.embedding_size) if shape.segments else None
        self.forwards = torch.nn.ModuleList(torch.nn.LSTM(width, shape.hidden_size) for width in inputs)
        self.backwards = torch.nn.ModuleList(torch.nn.LSTM(width, shape.hidden_size) for width in inputs)
        self.pooling = SelfAttentivePooling(2 * shape.hidden_size, shape.attention_size)
        self.dropout = torch.nn.Dropout(shape.dropout)
        self.classifier = torch.nn.Sequential(
            torch.nn.Linear(2 * shape.hidden_size, shape.classifier_size),
            torch.nn.ReLU(),
            torch.nn.Dropout(shape.dropout),
            torch.nn.Linear(shape.classifier_size, 1),
        )
        self.states: torch.nn.Linear | None = None
        if shape.matching:
            self.states = torch.nn.Linear(2 * shape.hidden_size, shape.embedding_size, bias=False)
            self.prepare_matching(shape.embedding_size)
            # At first the score is that of the word embeddings side by side: a ranking to go on from.
            torch.nn.init.zeros_(self.states.weight)
            for parameter in cast(torch.nn.Linear, self.classifier[-1]).parameters():
                torch.nn.init.zeros_(parameter)

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run embeddings, LSTMs and the weighing layer in ``dtype``; averages and classifier stay in float32."""
        for module in (self.words, self.segments, self.forwards, self.backwards, self.pooling, self.states):
            if module is not None:
                module.to(dtype)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Score rows of tokens.

        :param input_ids: int (n, tokens)
        :param attention_mask: (n, tokens), 1 for a token and 0 for the padding behind a row's tokens
        :param token_type_ids: int (n, tokens), 0 for the query's part and 1 for the document's; only where the
            network has segment embeddings, or matches tokens
        :raises ModelError: it does, and no token types are given
        """
        # Of the shape, not of len(): a trace must not take the number of rows for a constant.
        rows = input_ids.shape[0]
        if self.words.weight.dtype == torch.bfloat16 and input_ids.device.type == "cpu":
            repeated = torch.arange(rows + _rows_to_add(rows)) % rows
            input_ids, attention_mask = input_ids[repeated], attention_mask[repeated]
            token_type_ids = None if token_type_ids is None else token_type_ids[repeated]
        if token_type_ids is None:
            if self.segments is not None or self.states is not None:
                raise ModelError(
                    "segments or matching is true, but there are no token_type_ids: give a tokenizer that makes them"
                )
            token_type_ids = torch.zeros_like(input_ids)
        # Time first throughout, the LSTM kernels' own order: linear layers are slow on transposed states.
        words = states = self.words(input_ids.T)
        if self.segments is not None:
            states = states + self.segments(token_type_ids.T)
        states = self.dropout(states)
        reverse = _reversing_rows(attention_mask)
        for ahead, back in zip(self.forwards, self.backwards, strict=True):
            behind = _taken(back(_taken(states, reverse))[0], reverse)
            states = self.dropout(torch.cat([ahead(states)[0], behind], dim=2))
        scores = self.classifier(self.pooling(states, attention_mask))
        if self.states is not None:
            vectors = (words + self.states(states)).transpose(0, 1).float()
            scores = scores + self.matching_scores(vectors, attention_mask, token_type_ids)
        return scores[:rows]


def _rows_to_add(rows: int) -> int:
    """Return how many rows make a batch quick in bfloat16 on a CPU.

    oneDNN's AMX kernel is quick where the number of rows has small divisors: 113 rows take five times as long as 120
    (2.13 of torch). A few rows cost least as they are.
    """
    return -rows % 8 if rows > 16 else 0


def _reversing_rows(mask: torch.Tensor) -> torch.Tensor:
    """Return the permutation (tokens * n,) of time-first cells that reverses each row's tokens, not its padding."""
    rows, tokens = mask.shape
    positions = torch.arange(tokens, device=mask.device)[:, None]
    lengths = mask.sum(1)
    reverse = torch.where(positions < lengths, lengths - 1 - positions, positions)
    return (reverse * rows + torch.arange(rows, device=mask.device)).flatten()


def _taken(states: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    return states.flatten(0, 1).index_select(0, cells).view_as(states)


def build(shape: BertBiLSTMShape, start: Start) -> BertBiLSTM:
    """Return a BertBiLSTM whose word pieces start from those of a BERT; all else is random.

    :raises RecipeError: embeddings wider than the start's
    """
    table = start.word_embeddings()
    if table is None:
        return BertBiLSTM(shape)
    width = shape.embedding_size or min(128, table.shape[1])
    if width > table.shape[1]:
        raise RecipeError(f"student.embedding_size: {width} is wider than the {table.shape[1]} that it starts from")
    network = BertBiLSTM(shape.model_copy(update={"vocabulary_size": len(table), "embedding_size": width}))
    if not shape.random:
        reduced = table if width == table.shape[1] else table.double() @ leading_directions(table, width)
        with torch.no_grad():
            network.words.weight.copy_(reduced)
    return network


KIND = Kind(name="bert-bilstm", reads="pairs", shape=BertBiLSTMShape, build=build)
