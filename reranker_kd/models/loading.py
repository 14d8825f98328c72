"""Loading transformers models and tokenizers from a folder: safetensors only, no remote code, nothing random."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from reranker_kd.errors import ModelError
from reranker_kd.models.compact import compact_file, load_weights
from reranker_kd.models.folder import check_weights, first_line


def load_transformer(auto_class: Any, folder: Path, *, may_lack: tuple[str, ...] = ()) -> Any:
    """Return a float32 network of ``auto_class`` (such as ``transformers.AutoModel``) with all its weights.

    :param may_lack: prefixes of weights that the folder may lack, since they do not bear on the output
    :raises ModelError: no weights, broken weights, weights that do not fit, or some that are missing
    """
    check_weights(folder)
    with quiet_transformers():
        try:
            if compact_file(folder) is not None:
                network, report = _from_compact_weights(auto_class, folder)
            else:
                network, report = auto_class.from_pretrained(
                    folder,
                    local_files_only=True,
                    use_safetensors=True,
                    trust_remote_code=False,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"{folder}: cannot load the model: {first_line(error)}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(may_lack or ("\0",)))
    if missing:
        raise ModelError(
            f"{folder}: lacks {len(missing)} weights of a {type(network).__name__} (first: {missing[0]}); they "
            "would be random: name a model that was trained as a reranker"
        )
    return network


def _from_compact_weights(auto_class: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # The class alone is wanted, so nothing is allocated.
    with torch.device("meta"):
        network_class = type(auto_class.from_config(config))
    return network_class.from_pretrained(
        None, config=config, state_dict=load_weights(folder), dtype=torch.float32, output_loading_info=True
    )


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a folder.

    :raises ModelError: there is none, or it cannot be loaded
    """
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        # Without one, transformers makes up an empty tokenizer that knows no word.
        raise ModelError(f"{folder}: holds no tokenizer: save it beside the model, with save_pretrained")
    with quiet_transformers():
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise ModelError(
                f"{folder}: cannot load the tokenizer: {first_line(error)}: save it beside the model, with "
                "save_pretrained"
            ) from error


def longest_input(encoder: Any, shape: Any, tokenizer: Any) -> int:
    """Return the number of tokens that a model takes at most, special tokens included.

    :param encoder: its transformer, whose positions are numbered; None without one, which leaves it to the shape
    """
    limits = [] if encoder is not None else [shape.max_length]
    config: Any = getattr(encoder, "config", None)
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        # RoBERTa and its kin number positions from the padding token's id + 1.
        limits.append(positions - (config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0))
    # Tokenizers without a limit report a huge number.
    if tokenizer.model_max_length < 1_000_000:
        limits.append(int(tokenizer.model_max_length))
    return min(limits, default=512)


_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)

_OFFSET_POSITIONS = frozenset(
    ["roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text", "longformer", "mpnet", "ibert", "xmod"]
)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' log lines, bars and warnings off the terminal within the block."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
