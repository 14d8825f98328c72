"""What a user may ask of any model: declared here once, for Python, recipes and the command line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from reranker_kd.sections import Section


def full_precision(name: Any) -> Any:
    """Return a precision's full name; what is no short name stays as it is."""
    return {"fp32": "float32", "bf16": "bfloat16"}.get(name, name) if isinstance(name, str) else name


Precision = Annotated[Literal["auto", "float32", "bfloat16", "int8"], BeforeValidator(full_precision)]

REFERENCE: dict[str, Any] = {"backend": "torch", "precision": "float32"}
"""The options whose scores are the same on every processor, but for rounding: what all others are held against."""


class ModelOptions(Section):
    """How a model runs. The descriptions are those of the command line's options."""

    max_length: int | None = Field(default=None, ge=1, description="Tokens of an input.  [default: the model's limit]")
    batch_tokens: int | None = Field(default=None, ge=1, description="Tokens of a batch, padding included.")
    device: str | None = Field(
        default=None, description="torch device, such as cpu or cuda:1.  [default: a GPU where there is one]"
    )
    precision: Precision = Field(
        default="auto",
        description="Precision of the network; auto takes bfloat16 where the device computes in it, or what an "
        "exported model was exported for; int8 is for exported models.",
    )
    backend: str = Field(
        default="auto",
        description="What runs the network: torch, openvino, onnxruntime, one that an installed package adds, or auto "
        "for the fastest that is installed.",
    )
