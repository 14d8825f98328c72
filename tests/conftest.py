"""What many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair, not a fault: a busy one must not fail a test.
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("unhurried")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _cache_of_compiled_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what backends compile in tests out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RERANKER_KD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test collections; its README describes them."""
    folder = Path(os.environ.get("RERANKER_KD_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "trec-dl").is_dir():
        pytest.skip(f"no test collections at {folder}: set RERANKER_KD_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT cross-encoder of two layers with random weights, as ``save_pretrained`` writes it."""
    from make_tiny_models import make_cross_encoder

    return make_cross_encoder(tmp_path_factory.mktemp("models") / "tiny-cross-encoder")
