"""Imports point one way, heavy packages load on first use, and one package alone knows Pyserini and the JVM."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import click
import pytest

import reranker_kd
from reranker_kd.cli import cli

PACKAGE = Path(reranker_kd.__file__).parent

# Each folder or module of the package, and what it may import of the others besides errors and types: what stands above
# it here. The package itself (its version, and names that load on first use) is open to all.
MAY_IMPORT = {
    "progress": "",
    "formats": "",
    "models": "",
    "provenance": "formats",
    "evaluate": "formats",
    "inference": "formats models",
    "retrieve": "formats progress provenance models evaluate inference",
    "lucene": "retrieve",
    "rerank": "formats models evaluate inference retrieve",
    "compare": "formats provenance evaluate retrieve",
    "resources": "formats models",
    "experiment": "formats progress provenance evaluate inference retrieve rerank",
    "distill": "formats progress provenance models inference retrieve rerank evaluate",
    "export": "formats models inference retrieve rerank resources",
    "serve": "formats rerank resources retrieve",
    "benchmark": "evaluate inference models rerank",
    "cli": "benchmark compare distill evaluate experiment export formats inference models progress provenance rerank "
    "resources retrieve serve",
    "__main__": "cli",
}
GROUND = frozenset({"errors", "types", "registry", "sections", "callable_package"})
ALLOWED = {
    **{name: frozenset({"errors"} - {name}) for name in sorted(GROUND)},
    **{name: GROUND.union(others.split()) for name, others in MAY_IMPORT.items()},
}

HEAVY = {"torch", "transformers", "faiss", "jnius", "pyserini", "sentence_transformers"}
LUCENE = PACKAGE / "retrieve" / "lucene"


def _imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import of a file, those within functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            # Of "from reranker_kd import stages" the module is stages.
            yield from (
                (node.lineno, f"{node.module}.{alias.name}" if node.module == "reranker_kd" else str(node.module))
                for alias in node.names
            )


def _home(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_folder_and_module_is_in_the_table():
    assert {_home(path) for path in _files()} - {"__init__"} == set(ALLOWED)


def test_the_table_has_no_circle():
    order = list(TopologicalSorter(ALLOWED).static_order())
    assert order[-1] == "__main__"


@pytest.mark.parametrize("home", ALLOWED)
def test_imports_point_one_way(home):
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {module}"
        for path in _files()
        if _home(path) == home
        for line, module in _imported_modules(path)
        if module.startswith("reranker_kd.") and module.split(".")[1] not in {home, "__version__", *ALLOWED[home]}
    ]
    assert not wrong


def _for_types_alone(tree: ast.AST) -> set[ast.AST]:
    """Return what stands under ``if TYPE_CHECKING``: it is never run."""
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    return {node for guard in guards for node in ast.walk(guard)}


def test_no_files_import_each_other_in_a_circle():
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in _files()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = _for_types_alone(tree)
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module and n not in skipped]
        named = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
        graph[name] = (named | {str(node.module) for node in imports}) & modules.keys() - {name}
    # Raises CycleError, which names the circle.
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("home", ["errors", "types", "formats", "evaluate"])
def test_what_needs_neither_torch_nor_java_nor_click(home):
    # What these may import of the package is among themselves, so that their own imports are all there are.
    assert ALLOWED[home] <= {*GROUND, "formats", "evaluate"}
    outside = {
        module.split(".")[0] for path in _files() if _home(path) == home for _, module in _imported_modules(path)
    }
    assert not outside & {*HEAVY, "jnius_config", "click"}


def test_one_package_alone_knows_pyserini_and_the_jvm():
    knowing = {
        path
        for path in _files()
        for _, module in _imported_modules(path)
        if module.split(".")[0] in {"pyserini", "jnius", "jnius_config"}
    }
    assert knowing
    assert all(path.is_relative_to(LUCENE) for path in knowing)


def _heavy_modules_after(program: str) -> str:
    """Run a program in a new interpreter; return what it loaded of the heavy packages."""
    show = f"import sys\nprint('LOADED', sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{show}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_check_sees_what_is_loaded():
    assert _heavy_modules_after("import faiss") == "LOADED ['faiss']"


def test_importing_the_package_loads_nothing_heavy():
    assert _heavy_modules_after("import reranker_kd, reranker_kd.cli") == "LOADED []"


def test_help_loads_nothing_heavy():
    verbs = cli.list_commands(click.Context(cli))
    program = f"""
from reranker_kd.cli import main
for verb in {[[], *([verb] for verb in verbs)]!r}:
    try:
        main([*verb, "--help"])
    except SystemExit as stopped:
        assert stopped.code == 0
"""
    assert _heavy_modules_after(program) == "LOADED []"
