"""docs/recipes.md: its tables have every key of a recipe, with its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from reranker_kd.recipe import Measuring, Recipe, Reranking, Retrieval

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
SECTIONS = {"The recipe": Recipe, "retrieve": Retrieval, "rerank": Reranking, "evaluate": Measuring}
# Described in sections of their own.
_NESTED = {"retrieve", "rerank", "evaluate"}


def _rows(heading: str) -> dict[str, str]:
    """Return key -> default as printed, out of the table under a heading."""
    section = re.search(rf"^### `?{heading}`?\n(.*?)(?=^#|\Z)", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert section, heading
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", section[1], re.MULTILINE))


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_stands_with_its_default(heading):
    fields = SECTIONS[heading].model_fields
    rows = _rows(heading)
    assert list(rows) == list(fields)
    for key, printed in rows.items():
        default = fields[key].get_default(call_default_factory=True)
        if default is PydanticUndefined:
            assert printed == "required", key
        elif default is None or key in _NESTED:
            # Said in words: what happens without the key.
            assert "`" not in printed, key
        else:
            expected = list(default) if isinstance(default, tuple) else default
            assert yaml.safe_load(printed.strip("`")) == expected, key
