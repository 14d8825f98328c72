"""Bi-encoders as sentence-transformers saves them: a transformer, pooling, maybe dense layers, normalisation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import first_line, optional_json, read_json
from reranker_kd.models.pooling import POOLINGS, FixedPooling
from reranker_kd.models.settings import TextSettings
from reranker_kd.models.start import load_token_encoder

MODULES_FILE = "modules.json"
"""Marks a folder of sentence-transformers, and lists what lies in it."""

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
    :param pooling: called with token vectors and their mask, see :mod:`reranker_kd.models.pooling`
    :param layers: what follows the pooling, in order
    """

    def __init__(
        self, transformer: torch.nn.Module, pooling: torch.nn.Module, layers: Sequence[torch.nn.Module] = ()
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling
        self.layers = torch.nn.Sequential(*layers)

    @property
    def width(self) -> int:
        """Width of a token's vector."""
        config: Any = self.transformer.config
        return int(config.hidden_size)

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run the transformer in ``dtype``; pooling and what follows stay in float32."""
        self.transformer.to(dtype)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        vectors = self.transformer(**inputs).last_hidden_state.float()
        return self.layers(self.pooling(vectors, inputs["attention_mask"][:, :, None].float()))


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
            transformer = load_token_encoder(place)
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
    return SentenceEncoder(transformer, FixedPooling(*poolings), layers)


def read_sentence_settings(folder: Path) -> TextSettings:
    """Return the settings in ``config_sentence_transformers.json`` and ``sentence_bert_config.json``.

    :raises ModelError: a similarity other than cosine and dot
    """
    content = optional_json(folder / "config_sentence_transformers.json")
    prompts = content.get("prompts") or {}
    similarity: Any = content.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise ModelError(f"{folder}: similarity {similarity!r} is not supported; known: cosine, dot")
    length = optional_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return TextSettings(
        crossing=similarity,
        max_query_length=length,
        max_length=length,
        query_prompt=str(prompts.get("query") or ""),
        document_prompt=str(prompts.get("document") or prompts.get("passage") or ""),
    )


def sentence_transformers_files(encoder: SentenceEncoder, settings: TextSettings, pooling: str) -> dict[str, Any]:
    """Return what sentence-transformers keeps beside a transformer and its tokenizer: contents by the file's name.

    It has one length for queries and documents: the documents'.
    """
    modules = ["Transformer", "Pooling", *(["Normalize"] if settings.crossing == "cosine" else [])]
    prompts = {"query": settings.query_prompt, "document": settings.document_prompt}
    return {
        MODULES_FILE: [
            {
                "idx": place,
                "name": str(place),
                "path": f"{place}_{module}" if place else "",
                "type": f"sentence_transformers.models.{module}",
            }
            for place, module in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": encoder.width,
            **{flag: name == pooling for flag, name in _POOLING_FLAGS.items()},
        },
        "config_sentence_transformers.json": {
            "similarity_fn_name": settings.crossing,
            "prompts": {side: prompt for side, prompt in prompts.items() if prompt},
        },
        "sentence_bert_config.json": {"max_seq_length": settings.max_length, "do_lower_case": False},
    }


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of ``modules.json``, checked to stay within the folder."""
    path = folder / MODULES_FILE
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
        raise ModelError(f"{weights}: does not fit its config.json: {first_line(error)}") from error
    return torch.nn.Sequential(linear, getattr(torch.nn, activation)())
