"""The sample collection: the API documentation of the packages that this one runs on.

Every installation has the same text at hand (``constraints.txt`` pins the versions), so that a collection of
thousands of real documents comes without network and without redistributing anything. Topics and graded qrels
for it lie beside this module, in ``sample/``.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from reranker_kd.formats.files import atomic_writer
from reranker_kd.resources.docstrings import Definition, is_public, public_names, read_package
from reranker_kd.types import Document

SAMPLE_TOPICS = Path(__file__).parent / "sample" / "topics.tsv"
SAMPLE_QRELS = Path(__file__).parent / "sample" / "qrels.txt"

MIN_WORDS = 20
"""A docstring of fewer words tells nothing that its name does not."""

MAX_CHARACTERS = 4000
"""The longest text; a longer one ends with the last whole paragraph."""

# Import name -> modules that are left out: copies of other packages, compilers, one file a model or backend.
_PACKAGES: dict[str, tuple[str, ...]] = {
    "PIL": (),
    "attr": (),
    "click": (),
    "datasets": ("datasets.packaged_modules",),
    "faiss": ("faiss.swigfaiss_avx2", "faiss.swigfaiss_avx512", "faiss.swigfaiss_avx512_spr"),
    "fastapi": (),
    "flask": (),
    "fsspec": (),
    "huggingface_hub": ("huggingface_hub.cli", "huggingface_hub.inference"),
    "jinja2": (),
    "joblib": ("joblib.externals",),
    "matplotlib": ("matplotlib.backends", "matplotlib.sphinxext"),
    "more_itertools": (),
    "networkx": (),
    "numpy": ("numpy.distutils", "numpy.f2py"),
    "pandas": (),
    "pydantic": ("pydantic.v1", "pydantic.deprecated"),
    "requests": (),
    "rich": (),
    "safetensors": ("safetensors.flax", "safetensors.mlx", "safetensors.paddle", "safetensors.tensorflow"),
    "scipy": ("scipy._lib", "scipy.fftpack", "scipy.odr"),
    "sentence_transformers": (),
    "sklearn": ("sklearn.externals",),
    "tokenizers": (),
    "torch": (
        "torch._VF",
        "torch._decomp",
        "torch._dynamo",
        "torch._export",
        "torch._functorch",
        "torch._higher_order_ops",
        "torch._inductor",
        "torch._meta_registrations",
        "torch._numpy",
        "torch._prims",
        "torch._prims_common",
        "torch._refs",
        "torch._subclasses",
        "torch._vendor",
        "torch.ao",
        "torch.distributed",
        "torch.export",
        "torch.fx",
        "torch.mtia",
        "torch.onnx",
        "torch.package",
        "torch.sparse._triton_ops_meta",
        "torch.xpu",
    ),
    "tqdm": (),
    "transformers": (
        "transformers.cli",
        "transformers.distributed",
        "transformers.exporters",
        "transformers.generation.continuous_batching",
        "transformers.integrations",
        "transformers.models",
        "transformers.quantizers",
        "transformers.testing_utils",
    ),
    "urllib3": (),
    "werkzeug": (),
    "yaml": (),
}

# Bases whose methods everybody calls through one heir.
_HEIRS = {
    "matplotlib.axes._base._AxesBase": "matplotlib.axes.Axes",
    "pandas.core.base.IndexOpsMixin": "pandas.Series",
    "pandas.core.generic.NDFrame": "pandas.DataFrame",
    "torch.TensorBase": "torch.Tensor",
}

_ROLE = re.compile(r":\w+(?::\w+)*:`~?([^`]*)`")
_UNFILLED_LINE = re.compile(r"^[ \t]*%\(.*\)s.*\n?", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n")


def build_sample_collection(output: str | Path) -> int:
    """Write the collection as JSONL, ``{"id": docid, "contents": text}`` a line; return the number of documents.

    :raises InputError: a package that should be documented is not installed
    :raises OutputError: the file cannot be written
    """
    documents = sample_documents()
    with atomic_writer(output) as stream:
        for document in documents:
            line = {"id": document.docid, "contents": document.text}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    return len(documents)


def sample_documents() -> list[Document]:
    """Return the documents sorted by docid, which is the public qualified name (``pandas.DataFrame.merge``).

    :raises InputError: a package that should be documented is not installed
    """
    by_docid: dict[str, Definition] = {}
    for package, skipped in _PACKAGES.items():
        for docid, definition in documented_names(package, skipped):
            by_docid.setdefault(docid, definition)
    bodies = ((docid, definition, readable(definition.docstring)) for docid, definition in sorted(by_docid.items()))
    first_docids: dict[str, str] = {}
    return [
        Document(docid, shorten(f"{heading(docid, definition.parameters)}\n\n{body}"))
        for docid, definition, body in bodies
        if len(body.split()) >= MIN_WORDS and first_docids.setdefault(body, docid) == docid
    ]


def documented_names(package: str, skipped: tuple[str, ...] = ()) -> Iterator[tuple[str, Definition]]:
    """Yield (public name, definition) of what a package documents; what has no public name is left out."""
    modules = list(read_package(package, skipped))
    public = public_names(modules)
    for module in modules:
        for definition in module.definitions:
            docid = _public_name(definition.name, public)
            if is_public(docid) and docid.startswith(package):
                yield docid, definition


def _public_name(name: str, public: dict[str, str]) -> str:
    """Return the public name of a definition, found by the class or function that it is or lies in."""
    for names in (public, _HEIRS):
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            owner = ".".join(parts[:end])
            if owner in names:
                name = ".".join([names[owner], *parts[end:]])
                break
    return name


def heading(docid: str, parameters: str | None) -> str:
    """Return ``pandas DataFrame merge: pandas.DataFrame.merge(right, how='inner')``.

    Lucene's analysers take a dotted name for one word, so its parts come once more as words.
    """
    package, *parts = docid.split(".")
    words = " ".join([package, *parts[-2:]]).replace("_", " ").strip()
    if parameters is None:
        return f"{words}: {docid}"
    return f"{words}: {docid}({parameters if len(parameters) <= 160 else parameters[:160] + '...'})"


def readable(docstring: str) -> str:
    """Return the docstring without indentation, without cross-reference markup and unfilled template lines."""
    text = _ROLE.sub(r"\1", _UNFILLED_LINE.sub("", inspect.cleandoc(docstring)))
    return _BLANK_LINES.sub("\n\n", text).strip()


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the text, or its longest beginning of whole paragraphs within ``limit`` characters."""
    if len(text) <= limit:
        return text
    paragraph_end = text.rfind("\n\n", 0, limit)
    return text[: paragraph_end if paragraph_end > 0 else limit].rstrip()
