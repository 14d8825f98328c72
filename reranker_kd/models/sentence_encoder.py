"""Bi-encoders as sentence-transformers saves them: a transformer, pooling, maybe dense layers, normalisation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize
from transformers import AutoModel

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import read_json
from reranker_kd.models.loading import load_transformer

Pooling = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From token vectors (n, tokens, width) and their mask (n, tokens, 1) to text vectors (n, width)."""


def _mean(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (vectors * mask).sum(1) / mask.sum(1).clamp(min=1e-9)


def _mean_sqrt_length(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (vectors * mask).sum(1) / mask.sum(1).clamp(min=1e-9).sqrt()


def _weighted_mean(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    # SGPT (Muennighoff 2022, equation 1): the later the token, the heavier.
    weights = mask * torch.arange(1, vectors.shape[1] + 1, device=vectors.device)[None, :, None]
    return (vectors * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _max(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return vectors.masked_fill(mask == 0, -torch.inf).amax(1)


def _first(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return vectors[:, 0]


def _last(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    last = mask.sum(1).long().clamp(min=1) - 1
    return vectors.gather(1, last[:, :, None].expand(-1, 1, vectors.shape[2])).squeeze(1)


POOLINGS: dict[str, Pooling] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_length,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}

# sentence-transformers before 5.3 wrote a flag for each mode.
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class SentenceEncoder(torch.nn.Module):
    """From token arrays (n, tokens) to embeddings (n, dimension), in float32.

    :param transformer: gives ``last_hidden_state``
    :param poolings: names out of :data:`POOLINGS`; the vectors of several are concatenated
    :param layers: what follows the pooling, in order
    """

    def __init__(self, transformer: torch.nn.Module, poolings: tuple[str, ...], layers: list[torch.nn.Module]) -> None:
        super().__init__()
        self.transformer = transformer
        self.poolings = poolings
        self.layers = torch.nn.Sequential(*layers)

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run the transformer in ``dtype``; pooling and what follows stay in float32."""
        self.transformer.to(dtype)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        vectors = self.transformer(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][:, :, None].float()
        pooled = [POOLINGS[name](vectors, mask) for name in self.poolings]
        return self.layers(torch.cat(pooled, dim=1))


class Normalize(torch.nn.Module):
    """Scales each embedding to length 1."""

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return normalize(embeddings, dim=1)


def load_sentence_encoder(folder: Path) -> SentenceEncoder:
    """Load a bi-encoder that sentence-transformers saved.

    :param folder: holds ``modules.json``, whose first module is a transformer
    :raises ModelError: a module of another kind than Transformer, Pooling, Dense, Normalize; or a broken folder
    """
    transformer: torch.nn.Module | None = None
    poolings: tuple[str, ...] = ()
    layers: list[torch.nn.Module] = []
    for module in read_modules(folder):
        kind, place = str(module.get("type", "")).rsplit(".", 1)[-1], folder / str(module.get("path", ""))
        if kind == "Transformer" and transformer is None:
            # The pooler of BERT's own head takes no part in the embedding.
            transformer = load_transformer(AutoModel, place, may_lack=("pooler.",))
        elif kind == "Pooling" and not poolings:
            poolings = _poolings_of(place)
        elif kind == "Dense":
            layers.append(_load_dense(place))
        elif kind == "Normalize":
            layers.append(Normalize())
        else:
            raise ModelError(f"{folder / 'modules.json'}: module {kind} is not supported here")
    if transformer is None or not poolings:
        raise ModelError(f"{folder / 'modules.json'}: expected a Transformer and a Pooling module")
    return SentenceEncoder(transformer, poolings, layers)


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of ``modules.json``, checked to stay within the folder."""
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        places = [(folder / str(module.get("path", ""))).resolve() for module in modules]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read as a list of modules: {error}") from error
    if any(not place.is_relative_to(folder.resolve()) for place in places):
        raise ModelError(f"{path}: names a module outside of its folder")
    return modules


def _poolings_of(place: Path) -> tuple[str, ...]:
    config = read_json(place / "config.json")
    named = config.get("pooling_mode")
    if named is None:
        named = [name for flag, name in _POOLING_FLAGS.items() if config.get(flag)]
    poolings = (named,) if isinstance(named, str) else tuple(named)
    unknown = [name for name in poolings if name not in POOLINGS]
    if unknown or not poolings:
        raise ModelError(f"{place / 'config.json'}: pooling {unknown or 'is not named'}; known: {', '.join(POOLINGS)}")
    return poolings


_ACTIVATIONS = ("Tanh", "Identity", "ReLU", "GELU", "SiLU", "Sigmoid")


def _load_dense(place: Path) -> torch.nn.Module:
    config = read_json(place / "config.json")
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS or config.get("use_residual"):
        raise ModelError(f"{place / 'config.json'}: a dense layer with {activation} is not supported here")
    weights = place / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"{place}: holds no model.safetensors: save the model again with sentence-transformers")
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    try:
        linear.load_state_dict({name.removeprefix("linear."): value for name, value in load_file(weights).items()})
    except Exception as error:
        raise ModelError(f"{weights}: does not fit its config.json: {str(error).splitlines()[0]}") from error
    return torch.nn.Sequential(linear, getattr(torch.nn, activation)())
