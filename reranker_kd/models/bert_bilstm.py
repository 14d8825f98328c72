"""BertBiLSTM (Dahlmann and Lancewicki 2021, arXiv 2108.10197): a bidirectional LSTM over word pieces, for CPUs.

The idea is the paper's (abstract): a BERT fine-tuned on query-title pairs teaches a compact LSTM network, which takes
at most 0.2 ms a pair on a CPU. The abstract names no layers; these are our choice: the pair framed as a BERT tokenizer
frames it, segment embeddings, the pooling of Lin et al. 2017 (arXiv 1703.03130), a ReLU layer before one score, all
sizes by default, and the start from a BERT's word embeddings, reduced where they are wider.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file

from reranker_kd.errors import ModelError
from reranker_kd.models.compact import WEIGHTS, load_weights
from reranker_kd.models.folder import check_weights, read_json


@dataclass(frozen=True, slots=True)
class BertBiLSTMConfig:
    """The shape of a network, and what ``config.json`` of its folder says beside ``model_type``.

    :param vocabulary_size: word pieces of the tokenizer
    :param embedding_size: width of a word piece's embedding
    :param hidden_size: width of an LSTM's state, for each of the two directions
    :param layers: bidirectional LSTM layers, one upon the other
    :param dropout: share of the embeddings, states and classifier units that training leaves out
    :param attention_size: width of the layer that weighs the tokens
    :param classifier_size: width of the layer before the score
    :param segments: whether an embedding of the token type tells query from document
    :param max_length: tokens of an input at most, special tokens included
    :raises ModelError: a value out of range or of another type
    """

    model_type: ClassVar[str] = "bert-bilstm"

    vocabulary_size: int
    embedding_size: int = 128
    hidden_size: int = 256
    layers: int = 1
    dropout: float = 0.1
    attention_size: int = 128
    classifier_size: int = 256
    segments: bool = True
    max_length: int = 512

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            # A bool is an int to Python, but no size.
            if field.type == "int" and (type(value) is not int or value < 1):
                raise ModelError(f"{field.name} must be a whole number of at least 1, got {value!r}")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ModelError(f"dropout must be a number of at least 0 and below 1, got {self.dropout!r}")
        if type(self.segments) is not bool:
            raise ModelError(f"segments must be true or false, got {self.segments!r}")

    @property
    def max_position_embeddings(self) -> int:
        """``max_length`` under the name that transformers' configurations give to it."""
        return self.max_length


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


class BertBiLSTM(torch.nn.Module):
    """From token arrays (n, tokens) to raw relevance scores (n, 1), in float32.

    Padding stands behind the tokens of a row and does not bear on its score: the backward LSTM is a forward one
    over each row's tokens in reverse, so that both meet the padding last. That needs no packing, in training as in
    inference, and lets the fused LSTM kernels run (oneDNN's on a CPU, cuDNN's on a GPU), which do not take rows of
    different lengths.
    """

    def __init__(self, config: BertBiLSTMConfig) -> None:
        super().__init__()
        self.config = config
        inputs = [config.embedding_size, *[2 * config.hidden_size] * (config.layers - 1)]
        self.words = torch.nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.segments = torch.nn.Embedding(2, config.embedding_size) if config.segments else None
        self.forwards = torch.nn.ModuleList(torch.nn.LSTM(width, config.hidden_size) for width in inputs)
        self.backwards = torch.nn.ModuleList(torch.nn.LSTM(width, config.hidden_size) for width in inputs)
        self.pooling = SelfAttentivePooling(2 * config.hidden_size, config.attention_size)
        self.dropout = torch.nn.Dropout(config.dropout)
        self.classifier = torch.nn.Sequential(
            torch.nn.Linear(2 * config.hidden_size, config.classifier_size),
            torch.nn.ReLU(),
            torch.nn.Dropout(config.dropout),
            torch.nn.Linear(config.classifier_size, 1),
        )

    @classmethod
    def from_word_embeddings(cls, config: BertBiLSTMConfig, table: torch.Tensor) -> BertBiLSTM:
        """Return a new network whose word pieces start from those of a BERT; all else is random.

        :param table: float (vocabulary_size, d), such as ``bert.embeddings.word_embeddings.weight``; cut to
            ``embedding_size`` by :func:`reduced_embeddings`
        :raises ModelError: another vocabulary, or d smaller than ``embedding_size``
        """
        if len(table) != config.vocabulary_size:
            raise ModelError(f"vocabulary_size is {config.vocabulary_size}, but the table has {len(table)} embeddings")
        network = cls(config)
        with torch.no_grad():
            network.words.weight.copy_(reduced_embeddings(table, config.embedding_size))
        return network

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run embeddings, LSTMs and the weighing layer in ``dtype``; averages and classifier stay in float32."""
        for module in (self.words, self.segments, self.forwards, self.backwards, self.pooling):
            if module is not None:
                module.to(dtype)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Score rows of tokens.

        :param input_ids: int (n, tokens)
        :param attention_mask: (n, tokens), 1 for a token and 0 for the padding behind a row's tokens
        :param token_type_ids: int (n, tokens), 0 for the query's part and 1 for the document's; only where the
            network has segment embeddings
        :raises ModelError: the network has segment embeddings, and no token types are given
        """
        # Of the shape, not of len(): a trace must not take the number of rows for a constant.
        rows = input_ids.shape[0]
        if self.words.weight.dtype == torch.bfloat16 and input_ids.device.type == "cpu":
            repeated = torch.arange(rows + _rows_to_add(rows)) % rows
            input_ids, attention_mask = input_ids[repeated], attention_mask[repeated]
            token_type_ids = None if token_type_ids is None else token_type_ids[repeated]
        # Time first throughout, the LSTM kernels' own order: linear layers are slow on transposed states.
        states = self.words(input_ids.T)
        if self.segments is not None:
            if token_type_ids is None:
                raise ModelError("segments is true, but there are no token_type_ids: give a tokenizer that makes them")
            states = states + self.segments(token_type_ids.T)
        states = self.dropout(states)
        reverse = _reversing_rows(attention_mask)
        for ahead, back in zip(self.forwards, self.backwards, strict=True):
            behind = _taken(back(_taken(states, reverse))[0], reverse)
            states = self.dropout(torch.cat([ahead(states)[0], behind], dim=2))
        return self.classifier(self.pooling(states, attention_mask))[:rows]


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


def reduced_embeddings(table: torch.Tensor, width: int) -> torch.Tensor:
    """Return embeddings (V, width) whose inner products are nearest to those of a wider table (V, d).

    Projected on the first right singular vectors, without centring: of all embeddings of that width, these have
    the inner products nearest in the least squares sense (Eckart and Young 1936). At full width they stay as they are.

    :raises ModelError: width is larger than d
    """
    if width > table.shape[1]:
        raise ModelError(f"embedding_size {width} is larger than the {table.shape[1]} of the table: take at most that")
    if width == table.shape[1]:
        return table
    wide = table.detach().double()
    # The eigenvectors of the small (d, d) matrix, ascending, are the singular vectors of the tall table.
    directions = torch.linalg.eigh(wide.T @ wide).eigenvectors.flip(1)[:, :width]
    return (wide @ directions).to(table.dtype)


def save_bert_bilstm(model: BertBiLSTM, tokenizer: Any, folder: Path) -> None:
    """Write configuration, weights and tokenizer into a folder that :func:`load_bert_bilstm` reads.

    :raises ModelError: the tokenizer knows more word pieces than the network
    """
    config = model.config
    if len(tokenizer) > config.vocabulary_size:
        raise ModelError(f"vocabulary_size is {config.vocabulary_size}, but the tokenizer has {len(tokenizer)} pieces")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    content = json.dumps({"model_type": config.model_type, **asdict(config)}, indent=2)
    (folder / "config.json").write_text(content + "\n", encoding="utf-8")


def load_bert_bilstm(folder: Path) -> BertBiLSTM:
    """Load a network, in float32 and in evaluation mode.

    :raises ModelError: a missing or unknown key, a wrong value, no weights or weights that do not fit
    """
    model = BertBiLSTM(_read_config(folder / "config.json"))
    check_weights(folder)
    path = folder / WEIGHTS
    weights = load_weights(folder)
    _check_fit(weights, model.state_dict(), path)
    model.load_state_dict(weights)
    return model.eval()


def _read_config(path: Path) -> BertBiLSTMConfig:
    content = read_json(path)
    kind = content.pop("model_type", None)
    if kind != BertBiLSTMConfig.model_type:
        raise ModelError(f"{path}: model_type is {kind!r}, expected {BertBiLSTMConfig.model_type!r}")
    keys = {field.name for field in fields(BertBiLSTMConfig)}
    if odd := sorted(keys ^ content.keys()):
        raise ModelError(f"{path}: {'lacks the' if odd[0] in keys else 'unknown'} key {odd[0]!r}")
    try:
        return BertBiLSTMConfig(**content)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _check_fit(given: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], path: Path) -> None:
    for name in sorted(given.keys() | expected.keys()):
        has, needs = (tuple(weights[name].shape) if name in weights else None for weights in (given, expected))
        if has != needs:
            fault = "is missing" if has is None else f"has shape {has}, expected {needs or 'no such weight'}"
            raise ModelError(f"{path}: does not fit config.json: weight {name} {fault}")
