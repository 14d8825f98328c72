"""Smaller transformers out of larger ones: chosen layers, a factorised embedding, a narrower width.

Works on BERT's layout, which MiniLM, TinyBERT, ELECTRA, RoBERTa and their kin share; what comes of a RoBERTa is a BERT,
and an ALBERT becomes an ELECTRA whose layers begin alike and learn apart. A factorised embedding (a table of e columns
and a projection to the hidden width, as ALBERT and ELECTRA have it) makes it an ELECTRA, whose layers are BERT's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel

from reranker_kd.errors import RecipeError

if TYPE_CHECKING:
    from reranker_kd.models.kind import TransformerShape

_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert"})
"""These number positions from the padding token's id + 1; the rows before are never read."""

_LAYOUTS = frozenset({"albert", "bert", "electra", *_OFFSET_POSITIONS})


def shape_from(config: Any, wanted: TransformerShape) -> Any:
    """Return a shape with what is None in it as a larger transformer's config has it; its layers are a tuple.

    A number of layers is spread evenly up to the last one (TinyBERT's mapping).

    :raises RecipeError: another layout than BERT's, layers that the larger one lacks, a width that its heads do not
        divide, or one that is larger
    """
    if config.model_type not in _LAYOUTS:
        raise RecipeError(
            f"student.start: a {config.model_type} has not the layout of BERT, which is taken apart here: name a model "
            f"of {', '.join(sorted(_LAYOUTS))}"
        )
    if config.model_type == "albert" and (config.inner_group_num > 1 or config.embedding_size == config.hidden_size):
        raise RecipeError(
            "student.start: an ALBERT with layers of several parts or a full embedding: name another model"
        )
    depth = config.num_hidden_layers
    layers = depth if wanted.layers is None else wanted.layers
    if isinstance(layers, int):
        if not 1 <= layers <= depth:
            raise RecipeError(f"student.layers: {layers} layers cannot be taken from a model of {depth}")
        layers = tuple(round((i + 1) * depth / layers) for i in range(layers))
    elif not layers or sorted(set(layers)) != list(layers) or not (layers[0] >= 1 and layers[-1] <= depth):
        raise RecipeError(f"student.layers: {list(layers)} are no ascending layers out of 1 to {depth}")
    hidden = wanted.hidden_size or config.hidden_size
    # Heads keep their width where that divides the new one.
    width = config.hidden_size // config.num_attention_heads
    heads = wanted.heads or (config.num_attention_heads if hidden % width else hidden // width)
    if hidden % heads:
        raise RecipeError(f"student.hidden_size: {hidden} does not divide into {heads} heads: change student.heads")
    if hidden > config.hidden_size:
        raise RecipeError(f"student.hidden_size: {hidden} is wider than the {config.hidden_size} that it starts from")
    own = getattr(config, "embedding_size", config.hidden_size)
    embedding = wanted.embedding_size or (own if hidden == config.hidden_size else min(own, hidden))
    if embedding > hidden:
        raise RecipeError(f"student.embedding_size: {embedding} is wider than hidden_size {hidden}")
    intermediate = wanted.intermediate_size or max(1, config.intermediate_size * hidden // config.hidden_size)
    if intermediate > config.intermediate_size:
        raise RecipeError(
            f"student.intermediate_size: {intermediate} is wider than the {config.intermediate_size} it starts from"
        )
    sizes = {"hidden_size": hidden, "heads": heads, "intermediate_size": intermediate, "embedding_size": embedding}
    return wanted.model_copy(update={"layers": layers, **sizes})


def new_transformer(shape: Any, config: Any) -> Any:
    """Return random weights of a shape that :func:`shape_from` gave: a BERT, or an ELECTRA if it is factorised."""
    kept = ("vocab_size", "type_vocab_size", "hidden_act", "layer_norm_eps", "pad_token_id")
    dropout = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    common = {
        **{key: getattr(config, key) for key in (*kept, *dropout)},
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": len(shape.layers),
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings - _first_position(config),
    }
    if shape.embedding_size == shape.hidden_size:
        return BertModel(BertConfig(**common), add_pooling_layer=False)
    return ElectraModel(ElectraConfig(embedding_size=shape.embedding_size, **common))


def shrunk(large: Any, shape: Any) -> Any:
    """Return a transformer of a smaller shape that starts from the weights of a larger one.

    A narrower width is the projection on the first right singular vectors of the word embeddings: what a weight reads
    or writes of the hidden state goes through it. Heads and feed-forward units beyond the new number are dropped, those
    of the smallest norms first; of a head that grows narrower, the last rows. At full width a chosen layer is copied as
    it is, whatever the number of heads: another one reads the same rows as other heads. A factorised embedding is
    :func:`_factorised`; one that is factorised already is copied.

    :param large: a transformer, without its pooler or with it
    :param shape: what :func:`shape_from` gave for its config
    :raises RecipeError: heads that cannot come out of the larger ones, or another shape of a factorised embedding
    """
    small = new_transformer(shape, large.config)
    weights = _unshared(large) if large.config.model_type == "albert" else large.state_dict()
    weights["embeddings.position_embeddings.weight"] = weights["embeddings.position_embeddings.weight"][
        _first_position(large.config) :
    ]
    if "embeddings_project.weight" in weights:
        kept = tuple(weights["embeddings_project.weight"].shape)
        if kept != (shape.hidden_size, shape.embedding_size):
            raise RecipeError(
                f"student.embedding_size: the start's embedding is factorised, {kept[1]} to {kept[0]}, and stays so: "
                "leave student.embedding_size and student.hidden_size out"
            )
        basis = None
        taken = {key: value for key, value in weights.items() if key.startswith("embeddings")}
    else:
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


_OF_ALBERT = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.dense": "attention.output.dense",
    "attention.LayerNorm": "attention.output.LayerNorm",
    "ffn": "intermediate.dense",
    "ffn_output": "output.dense",
    "full_layer_layer_norm": "output.LayerNorm",
}


def _unshared(albert: Any) -> dict[str, torch.Tensor]:
    """Return an ALBERT's weights (Lan et al. 2020) by ELECTRA's names, each layer with a copy of the shared ones."""
    config, given = albert.config, albert.state_dict()
    weights = {key: value for key, value in given.items() if key.startswith("embeddings.")}
    for part in ("weight", "bias"):
        weights[f"embeddings_project.{part}"] = given[f"encoder.embedding_hidden_mapping_in.{part}"]
    for number in range(config.num_hidden_layers):
        group = number * config.num_hidden_groups // config.num_hidden_layers
        for theirs, ours in _OF_ALBERT.items():
            for part in ("weight", "bias"):
                key = f"encoder.albert_layer_groups.{group}.albert_layers.0.{theirs}.{part}"
                weights[f"encoder.layer.{number}.{ours}.{part}"] = given[key]
    return weights


def _basis(table: torch.Tensor, width: int) -> torch.Tensor | None:
    """Return orthonormal directions (d, width) that keep most of the embeddings; None where nothing is dropped."""
    return None if width == table.shape[1] else leading_directions(table, width).to(table.dtype)


def leading_directions(table: torch.Tensor, width: int) -> torch.Tensor:
    """Return the first right singular vectors (d, width), in float64, of a table (V, d), which is not centred.

    Of all projections to that width, theirs have the inner products nearest in the least squares sense (Eckart and
    Young 1936).
    """
    wide = table.detach().double()
    # The eigenvectors of the small (d, d) matrix, ascending, are the singular vectors of the tall table.
    return torch.linalg.eigh(wide.T @ wide).eigenvectors.flip(1)[:, :width]


def _read(weight: torch.Tensor, basis: torch.Tensor | None) -> torch.Tensor:
    # (..., d) that are multiplied with a hidden state, or are one.
    return weight if basis is None else weight @ basis


def _norm(weight: torch.Tensor, basis: torch.Tensor | None) -> torch.Tensor:
    # A scale per dimension becomes the nearest diagonal in the new directions.
    return weight if basis is None else (basis.square() * weight[:, None]).sum(0)


def _embeddings(weights: dict[str, torch.Tensor], basis: torch.Tensor | None, shape: Any) -> dict[str, torch.Tensor]:
    tables = {
        key: _read(weights[key], basis)
        for name in ("word", "position", "token_type")
        for key in [f"embeddings.{name}_embeddings.weight"]
    }
    gain = _norm(weights["embeddings.LayerNorm.weight"], basis)
    shift = _read(weights["embeddings.LayerNorm.bias"], basis)
    if shape.embedding_size == shape.hidden_size:
        return {**tables, "embeddings.LayerNorm.weight": gain, "embeddings.LayerNorm.bias": shift}
    return _factorised(tables, gain, shift, shape.embedding_size)


def _factorised(
    tables: dict[str, torch.Tensor], gain: torch.Tensor, shift: torch.Tensor, width: int
) -> dict[str, torch.Tensor]:
    """Return ELECTRA's embedding, narrow tables whose normalised sum is projected, that is nearest to BERT's.

    Normalisation takes the mean away: it is 0 before it and after, so that both norms are of the same vector but for
    the directions that are dropped. What is kept are the ``width`` - 1 principal directions of the centred sums of
    word, position and token type; where these span no more, the result is BERT's own embedding, exactly.
    """
    centred = {key: (value - value.mean(1, keepdim=True)).double() for key, value in tables.items()}
    # The second moment of sums of independent, equally frequent rows.
    mean = torch.stack([table.mean(0) for table in centred.values()]).sum(0)
    covariances = torch.stack([torch.cov(table.T, correction=0) for table in centred.values()])
    moment = covariances.sum(0) + torch.outer(mean, mean)
    directions = torch.linalg.eigh(moment).eigenvectors.flip(1)[:, : width - 1]
    # One dimension more than directions: rows that sum to 0 have no mean that the narrow normalisation would take.
    into = directions @ _zero_sums(width)
    narrow = {key: (table @ into).float() for key, table in centred.items()}
    # A normalised vector of e dimensions has length sqrt(e), one of h has sqrt(h).
    scale = (len(gain) / width) ** 0.5
    return {
        **narrow,
        "embeddings.LayerNorm.weight": torch.ones(width),
        "embeddings.LayerNorm.bias": torch.zeros(width),
        "embeddings_project.weight": (gain[:, None] * into * scale).float(),
        "embeddings_project.bias": shift,
    }


def _zero_sums(width: int) -> torch.Tensor:
    """Return orthonormal rows (width - 1, width) that each sum to 0."""
    ones_first = torch.eye(width, dtype=torch.float64)
    ones_first[:, 0] = 1.0
    return torch.linalg.qr(ones_first).Q[:, 1:].T


def _first_position(config: Any) -> int:
    return config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0


def _layer(
    layer: dict[str, torch.Tensor], basis: torch.Tensor | None, shape: Any, config: Any
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


def _kept_rows(layer: dict[str, torch.Tensor], config: Any, shape: Any) -> torch.Tensor:
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
