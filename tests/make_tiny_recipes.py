"""Tiny distillations: a collection of 30 texts, 6 queries, models of random weights, and a recipe for each method."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from make_tiny_models import make_cross_encoder, make_transformer
from make_tiny_twins import make_tiny_twin

_PHRASES = """heat flow in a boundary layer|drag and lift of a wing|a shock wave in supersonic flow
the dog and the cat sat by the river|water of the sea|a car on the road|how blood flows to the heart
computer program and memory|search for a document by query|the law court and tax|a drug dose for the nurse
temperature of a flat plate|pressure on a cylinder|time sharing system|ranking method for data""".replace(
    "\n", "|"
).split("|")
_QUERIES = ["heat flow plate", "shock wave", "dog river water", "computer memory", "law tax court", "drug dose nurse"]

REFERENCE = {"model": "teacher", "backend": "torch", "precision": "float32"}
"""A teacher whose scores are the same on every processor."""

CASES: dict[str, dict[str, Any]] = {
    "standard-kd": {"transfer_set": {"qrels": "qrels.txt", "positives": 1}},
    "tinybert": {"student": {"layers": 1}},
    "ternarybert": {"student": {"weights": "ternary"}},
    "binarybert": {"student": {"weights": "binary"}},
    "simplified-tinybert": {"student": {"hidden_size": 16, "heads": 2}, "transfer_set": {"qrels": "qrels.txt"}},
    "bert-bilstm": {
        "student": {
            "kind": "bert-bilstm",
            "embedding_size": 12,
            "hidden_size": 10,
            "attention_size": 6,
            "classifier_size": 8,
        }
    },
    "twinbert": {"student": {"kind": "twin", "pooling": "weighted", "crossing": "residual"}},
    "margin-mse": {"teacher": {"ensemble": [REFERENCE, {"run": "run.txt", "use": "rank"}]}},
    "rank-kl": {"student": {"kind": "twin", "towers": "separate"}},
    "ranknet": {"student": {"random": True}},
    "embedding-kd": {
        "student": {"kind": "twin", "layers": 1},
        "teacher": {**REFERENCE, "model": "bi-encoder", "scale": 10},
    },
    "contrastive-kd": {"student": {"kind": "twin"}, "transfer_set": {"qrels": "qrels.txt"}},
}
"""What a recipe of each method says besides :func:`tiny_recipe`'s own."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread: for models of this size others only wait, for long where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_tiny_workplace(folder: Path) -> Path:
    """Write collection, topics, qrels, a run, validation files, and the models teacher, bi-encoder and start."""
    draw = random.Random(0)
    texts = {f"d{n}": ". ".join(draw.sample(_PHRASES, 3)) for n in range(1, 31)}
    topics = {f"q{n}": query for n, query in enumerate(_QUERIES, start=1)}
    ranked = {qid: draw.sample(sorted(texts), 9) for qid in topics}
    _lines(folder / "docs.jsonl", [json.dumps({"id": docid, "contents": text}) for docid, text in texts.items()])
    _lines(folder / "topics.tsv", [f"{qid}\t{text}" for qid, text in topics.items()])
    _lines(
        folder / "run.txt",
        [f"{qid} Q0 {d} {r} {10 - r} x" for qid, docids in ranked.items() for r, d in enumerate(docids, start=1)],
    )
    # Half of a query's candidates are relevant, from the first to the last rank.
    _lines(folder / "qrels.txt", [f"{qid} 0 {d} {n % 2}" for qid, ids in ranked.items() for n, d in enumerate(ids)])
    make_cross_encoder(folder / "teacher", seed=1)
    make_tiny_twin(folder / "bi-encoder", seed=2)
    make_transformer(folder / "start", seed=3)
    return folder


def tiny_recipe(method: str, **sections: Any) -> dict[str, Any]:
    """Return a recipe over such a workplace's files; a section's keys are put into the method's case, a value stands.

    It takes 4 updates a stage, without a validation.
    """
    recipe: dict[str, Any] = {
        "method": method,
        "seed": 7,
        "teacher": REFERENCE,
        "student": {"start": "start", "max_length": 32},
        "transfer_set": {
            "queries": "topics.tsv",
            "collection": "docs.jsonl",
            "runs": {"given": "run.txt"},
            "draws": [{"source": "given", "count": 4}, {"source": "random", "count": 1}],
        },
        "training": {"steps": 4, "batch_groups": 2, "learning_rate": 0.001, "log_every": 1, "precision": "float32"},
    }
    for more in (CASES.get(method, {}), sections):
        for key, value in more.items():
            # Of two teachers the later one stands.
            merged = key != "teacher" and isinstance(value, dict) and isinstance(recipe.get(key), dict)
            recipe[key] = {**recipe[key], **value} if merged else value
    return recipe


VALIDATION = {
    "topics": "topics.tsv",
    "qrels": "qrels.txt",
    "candidates": "run.txt",
    "collection": "docs.jsonl",
    "measure": "AP",
}
"""A validation on the workplace's own topics."""


def write_recipe(folder: Path, recipe: dict[str, Any], name: str = "recipe.yaml") -> Path:
    """Write a recipe as YAML and return its path."""
    path = folder / name
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def _lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
