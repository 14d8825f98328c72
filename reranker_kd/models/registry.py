"""Models by name: a folder, a bundled student, one that an installed package carries, or one of the hub."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import fetch_from_hub

ENTRY_POINT_GROUP = "reranker_kd.models"
"""Packages add models under this group: a name, and a callable that returns the model's folder."""


BUNDLED = Path(__file__).parent.parent / "resources" / "students"
"""A folder for each student that comes with this package."""


DEFAULT_RERANKER, DEFAULT_BI_ENCODER = "cross", "twin"
"""Bundled students that are taken where nobody names a model: they need no network."""


def bundled_students() -> dict[str, Path]:
    """Return the folders of the students that come with this package, by name."""
    return {path.parent.name: path.parent for path in sorted(BUNDLED.glob("*/config.json"))}


def installed_models() -> dict[str, str]:
    """Return the names of models that installed packages carry, each with the object that finds its folder."""
    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}


def local_folder(name: str | Path) -> Path | None:
    """Return the folder of a model on this machine: the named one, a bundled or an installed one; None without one.

    :raises ModelError: the name is a file's, or the package that carries the model does not load
    """
    if Path(name).is_dir():
        return Path(name)
    if (bundled := bundled_students().get(str(name))) is not None:
        return bundled
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == str(name):
            try:
                return Path(entry.load()())
            except Exception as error:
                raise ModelError(
                    f"{name}: the package that carries it ({entry.value}) does not load: {error}"
                ) from error
    if Path(name).exists():
        raise ModelError(f"{name}: is a file; name the folder that holds config.json and model.safetensors")
    return None


def model_folder(name: str | Path) -> Path:
    """Return the folder of a model, fetched from the Hugging Face hub where it is not on this machine.

    :raises ModelError: no such model
    """
    return local_folder(name) or fetch_from_hub(str(name))
