"""Recipe files: YAML with environment variables and changes from the command line, and faults named by their key."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from reranker_kd.errors import RecipeError

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def read_yaml(path: Path, changes: Sequence[str]) -> dict[str, Any]:
    """Return the keys and values of a recipe's file, variables replaced and changes made; see :func:`read_recipe`."""
    try:
        content = yaml.safe_load(_with_variables(path.read_text(encoding="utf-8"), path))
    except OSError as error:
        raise RecipeError(f"{path}: cannot read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: broken YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: expected keys and values, such as topics: topics.tsv")
    for change in changes:
        _apply(content, change)
    return content


def beside(folder: Path, section: dict[str, Any], keys: Sequence[str]) -> None:
    """Replace in a section the names of what lies beside the recipe by its path."""
    for key in keys:
        if isinstance(section.get(key), str) and (folder / section[key]).exists():
            section[key] = str(folder / section[key])


def _with_variables(text: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise RecipeError(f"{path}: the environment variable {match[1]} is not set: export it, then run again")
        return found

    return _VARIABLE.sub(value, text)


def _apply(content: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {change}: expected key=value, such as retrieve.k1=1.2")
    *sections, last = key.split(".")
    place: Any = content
    try:
        for section in sections:
            place = place[int(section)] if isinstance(place, list) else place.setdefault(section, {})
        if isinstance(place, list):
            place[int(last)] = yaml.safe_load(value)
        else:
            place[last] = yaml.safe_load(value)
    except (ValueError, IndexError, TypeError, AttributeError, yaml.YAMLError):
        raise RecipeError(f"--set {change}: the recipe has no place {key}") from None
