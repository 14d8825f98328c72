"""Smaller transformers out of larger ones: chosen layers, a factorised embedding, a narrower width.

Works on BERT's layout, which MiniLM, TinyBERT and their kin share. A factorised embedding (a table of e columns and a
projection to the hidden width, as ALBERT and ELECTRA have it) makes the result an ELECTRA, whose layers are BERT's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel

from reranker_kd.errors import RecipeError
from reranker_kd.models.bert_bilstm import reduced_embeddings


@dataclass(frozen=True, slots=True)
class TransformerShape:
    """The shape of a transformer.

    :param layers: which layers of the larger one are kept, counted from 1, in their order
    :param hidden_size: width of a token's vector
    :param heads: attention heads
    :param intermediate_size: width of the feed-forward layers
    :param embedding_size: width of the embedding table; less than ``hidden_size`` factorises it
    """

    layers: tuple[int, ...]
    hidden_size: int
    heads: int
    intermediate_size: int
    embedding_size: int


def shape_from(
    config: Any,
    *,
    layers: int | Sequence[int] | None = None,
    hidden_size: int | None = None,
    heads: int | None = None,
    intermediate_size: int | None = None,
    embedding_size: int | None = None,
) -> TransformerShape:
    """Return the shape asked for, with what is None as a larger transformer's config has it.

    :param layers: a number, spread evenly up to the last layer (TinyBERT's mapping), or the layers themselves
    :raises RecipeError: layers that the larger one lacks, a width that its heads do not divide, or one that is larger
    """
    depth = config.num_hidden_layers
    if layers is None:
        layers = depth
    if isinstance(layers, int):
        if not 1 <= layers <= depth:
            raise RecipeError(f"student.layers: {layers} layers cannot be taken from a model of {depth}")
        chosen = tuple(round((i + 1) * depth / layers) for i in range(layers))
    else:
        chosen = tuple(layers)
        if not chosen or sorted(set(chosen)) != list(chosen) or not (chosen[0] >= 1 and chosen[-1] <= depth):
            raise RecipeError(f"student.layers: {list(chosen)} are no ascending layers out of 1 to {depth}")
    hidden = hidden_size or config.hidden_size
    if heads is None:
        # Heads keep their width where that divides the new one.
        width = config.hidden_size // config.num_attention_heads
        heads = hidden // width if hidden % width == 0 else config.num_attention_heads
    if hidden % heads:
        raise RecipeError(f"student.hidden_size: {hidden} does not divide into {heads} heads")
    if hidden > config.hidden_size:
        raise RecipeError(f"student.hidden_size: {hidden} is wider than the {config.hidden_size} that it starts from")
    embedding = embedding_size or hidden
    if embedding > hidden:
        raise RecipeError(f"student.embedding_size: {embedding} is wider than hidden_size {hidden}")
    ratio = config.intermediate_size // config.hidden_size
    intermediate = intermediate_size or min(config.intermediate_size, ratio * hidden)
    if intermediate > config.intermediate_size:
        raise RecipeError(
            f"student.intermediate_size: {intermediate} is wider than the {config.intermediate_size} it starts from"
        )
    return TransformerShape(chosen, hidden, heads, intermediate, embedding)


def new_transformer(shape: TransformerShape, config: Any) -> Any:
    """Return a transformer of random weights: BERT, or ELECTRA where its embedding is factorised."""
    common = {
        "vocab_size": config.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": len(shape.layers),
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "type_vocab_size": config.type_vocab_size,
        "hidden_act": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
        "pad_token_id": config.pad_token_id,
        "hidden_dropout_prob": config.hidden_dropout_prob,
        "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
    }
    if shape.embedding_size == shape.hidden_size:
        return BertModel(BertConfig(**common), add_pooling_layer=False)
    return ElectraModel(ElectraConfig(embedding_size=shape.embedding_size, **common))


def shrunk(large: Any, shape: TransformerShape) -> Any:
    """Return a transformer of a smaller shape that starts from the weights of a larger one.

    A narrower width is the projection on the first right singular vectors of the word embeddings: what a weight reads
    or writes of the hidden state goes through it. Heads and feed-forward units beyond the new number are dropped, those
    of the smallest norms first. At full width a chosen layer is copied as it is.

    :param large: a BERT, without its pooler or with it
    :raises RecipeError: another architecture
    """
    if not hasattr(large, "embeddings") or not hasattr(getattr(large, "encoder", None), "layer"):
        raise RecipeError(
            f"student.start: a {type(large).__name__} has not the layout of BERT, which is taken apart here"
        )
    small = new_transformer(shape, large.config)
    weights = large.state_dict()
    basis = _basis(weights["embeddings.word_embeddings.weight"], shape.hidden_size)
    taken = _embeddings(weights, basis, shape)
    for place, number in enumerate(shape.layers):
        prefix, name = f"encoder.layer.{number - 1}.", f"encoder.layer.{place}."
        layer = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        taken |= {name + key: value for key, value in _layer(layer, basis, shape, large.config).items()}
    report = small.load_state_dict(taken, strict=False)
    assert not report.unexpected_keys, report.unexpected_keys
    assert not [key for key in report.missing_keys if "position_ids" not in key and "token_type_ids" not in key], report
    return small


def _basis(table: torch.Tensor, width: int) -> torch.Tensor | None:
    """Return orthonormal directions (d, width) that keep most of the embeddings; None where nothing is dropped."""
    if width == table.shape[1]:
        return None
    wide = table.double()
    return torch.linalg.eigh(wide.T @ wide).eigenvectors.flip(1)[:, :width].to(table.dtype)


def _read(weight: torch.Tensor, basis: torch.Tensor | None) -> torch.Tensor:
    # (..., d) that are multiplied with a hidden state, or are one.
    return weight if basis is None else weight @ basis


def _norm(weight: torch.Tensor, basis: torch.Tensor | None) -> torch.Tensor:
    # A scale per dimension becomes the nearest diagonal in the new directions.
    return weight if basis is None else (basis.square() * weight[:, None]).sum(0)


def _embeddings(
    weights: dict[str, torch.Tensor], basis: torch.Tensor | None, shape: TransformerShape
) -> dict[str, torch.Tensor]:
    tables = {
        key: _read(weights[key], basis)
        for name in ("word", "position", "token_type")
        for key in [f"embeddings.{name}_embeddings.weight"]
    }
    gain = _norm(weights["embeddings.LayerNorm.weight"], basis)
    shift = _read(weights["embeddings.LayerNorm.bias"], basis)
    if shape.embedding_size == shape.hidden_size:
        return {**tables, "embeddings.LayerNorm.weight": gain, "embeddings.LayerNorm.bias": shift}
    # ELECTRA normalises the narrow embedding and projects it: the projection takes the gain and the shift.
    words = tables["embeddings.word_embeddings.weight"]
    directions = _basis(words, shape.embedding_size)
    assert directions is not None
    narrow = {key: value @ directions for key, value in tables.items()}
    narrow["embeddings.word_embeddings.weight"] = reduced_embeddings(words, shape.embedding_size)
    one = torch.ones(shape.embedding_size)
    # A normalised vector of e dimensions has length sqrt(e), one of h has sqrt(h).
    scale = (shape.hidden_size / shape.embedding_size) ** 0.5
    return {
        **narrow,
        "embeddings.LayerNorm.weight": one,
        "embeddings.LayerNorm.bias": 0 * one,
        "embeddings_project.weight": gain[:, None] * directions * scale,
        "embeddings_project.bias": shift,
    }


def _layer(
    layer: dict[str, torch.Tensor], basis: torch.Tensor | None, shape: TransformerShape, config: Any
) -> dict[str, torch.Tensor]:
    heads = _kept_rows(layer, config, shape)
    norms = layer["intermediate.dense.weight"].norm(dim=1) * layer["output.dense.weight"].norm(dim=0)
    units = norms.topk(shape.intermediate_size).indices.sort().values
    small = {}
    for name in ("query", "key", "value"):
        small[f"attention.self.{name}.weight"] = _read(layer[f"attention.self.{name}.weight"][heads], basis)
        small[f"attention.self.{name}.bias"] = layer[f"attention.self.{name}.bias"][heads]
    small["attention.output.dense.weight"] = _read(layer["attention.output.dense.weight"][:, heads].T, basis).T
    small["intermediate.dense.weight"] = _read(layer["intermediate.dense.weight"][units], basis)
    small["intermediate.dense.bias"] = layer["intermediate.dense.bias"][units]
    small["output.dense.weight"] = _read(layer["output.dense.weight"][:, units].T, basis).T
    for part in ("attention.output", "output"):
        small[f"{part}.dense.bias"] = _read(layer[f"{part}.dense.bias"], basis)
        small[f"{part}.LayerNorm.weight"] = _norm(layer[f"{part}.LayerNorm.weight"], basis)
        small[f"{part}.LayerNorm.bias"] = _read(layer[f"{part}.LayerNorm.bias"], basis)
    return {key: value.contiguous() for key, value in small.items()}


def _kept_rows(layer: dict[str, torch.Tensor], config: Any, shape: TransformerShape) -> torch.Tensor:
    """Return the rows of query, key and value that are kept: whole heads, or so many rows of every head."""
    old_heads, rows = config.num_attention_heads, config.hidden_size
    by_head = torch.arange(rows).view(old_heads, rows // old_heads)
    if shape.hidden_size == rows:
        return by_head.flatten()
    new_width = shape.hidden_size // shape.heads
    if shape.heads > old_heads or new_width > by_head.shape[1]:
        raise RecipeError(
            f"student.heads: {shape.heads} heads of width {new_width} do not come out of {old_heads} of "
            f"{by_head.shape[1]}"
        )
    outgoing = layer["attention.output.dense.weight"].norm(dim=0).view(by_head.shape)
    heads = outgoing.norm(dim=1).topk(shape.heads).indices.sort().values
    return by_head[heads][:, :new_width].flatten()
