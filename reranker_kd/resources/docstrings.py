"""Reading docstrings out of source files: nothing is imported and no code of the package is run.

A package defines a function in one module and offers it under another name (``numpy.linalg._linalg.svd`` is
``numpy.linalg.svd`` to everybody), so the import statements are read as well: :func:`public_names` follows them.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from pathlib import Path

from reranker_kd.errors import InputError

_NOT_API = frozenset({"tests", "test", "testing", "conftest", "setup", "__main__", "version"})
_FORMAT_FIELD = re.compile(r"\{\{|\}\}|\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class Definition:
    """A documented module, class, function or attribute.

    :param name: qualified name where it is defined, from the package down
    :param parameters: the names of its parameters with their defaults, or None for what is not called
    :param docstring: as written, not yet cleaned
    """

    name: str
    parameters: str | None
    docstring: str


@dataclass
class SourceModule:
    """What the source of one module says of itself.

    :param imports: local name -> qualified name of what ``from x import y as local`` brings
    :param star_imports: the modules of ``from x import *``
    :param exported: the literal ``__all__``, or None
    """

    name: str
    is_package: bool
    definitions: list[Definition] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    star_imports: list[str] = field(default_factory=list)
    exported: frozenset[str] | None = None

    @cached_property
    def defined_names(self) -> frozenset[str]:
        """The top-level names of the definitions: ``C`` for the class ``C`` and its methods."""
        prefix = f"{self.name}."
        local_names = (d.name.removeprefix(prefix) for d in self.definitions if d.name.startswith(prefix))
        return frozenset(name.split(".")[0] for name in local_names)


def read_package(package: str, skipped: Collection[str] = ()) -> Iterator[SourceModule]:
    """Read the modules of an installed package, sorted by name; tests are left out.

    A stub (``.pyi``) adds its definitions to those of the source beside it: compiled code is documented there.

    :param package: the import name of a top-level package
    :param skipped: qualified names of modules and subpackages to leave out
    :raises InputError: no such package is installed
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {package} is not installed; install reranker-kd with its constraints.txt")
    root = Path(spec.submodule_search_locations[0])
    files = [path for path in root.rglob("*.py*") if path.suffix in {".py", ".pyi"}]
    named = sorted((_module_name(package, path.relative_to(root)), path) for path in files)
    for name, group in itertools.groupby(named, key=itemgetter(0)):
        if _NOT_API.isdisjoint(name.split(".")) and not any(_is_within(name, other) for other in skipped):
            module, *stubs = (_read_file(name, path) for _, path in group)
            for stub in stubs:
                module.definitions.extend(stub.definitions)
            yield module


def _read_file(name: str, path: Path) -> SourceModule:
    return read_source(name, path.read_text(encoding="utf-8"), is_package=path.stem == "__init__")


def _module_name(package: str, path: Path) -> str:
    parts = [package, *path.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def read_source(name: str, source: str, *, is_package: bool = False) -> SourceModule:
    """Read the definitions and imports of one module.

    :param name: its qualified name
    :param is_package: whether it is an ``__init__``, which decides what a relative import is relative to
    :raises SyntaxError: the source is no Python
    """
    module = SourceModule(name, is_package)
    with warnings.catch_warnings():
        # An invalid escape in somebody's docstring is no news to our user.
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(source)
    if docstring := ast.get_docstring(tree, clean=False):
        module.definitions.append(Definition(name, None, docstring))
    _read_body(tree.body, name, module)
    return module


def _read_body(body: Iterable[ast.stmt], scope: str, module: SourceModule) -> None:
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                _read_definition(node, scope, module)
            case ast.ImportFrom() if scope == module.name:
                _read_import(node, module)
            case ast.Assign(targets=[ast.Name("__all__")], value=ast.List() | ast.Tuple() as names):
                module.exported = frozenset(map(_literal_text, names.elts))
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(documented), attr="__doc__")], value=text):
                module.definitions.extend(_definition(f"{scope}.{documented}", text))
            case ast.Assign(targets=[ast.Name(target)], value=ast.Call() as call):
                module.definitions.extend(_documented_by_call(call, f"{scope}.{target}"))
            case ast.Expr(value=ast.Call() as call):
                module.definitions.extend(_documented_by_call(call, None))
            case ast.If() | ast.Try():
                handlers = node.handlers if isinstance(node, ast.Try) else []
                for part in (node.body, node.orelse, *(handler.body for handler in handlers)):
                    _read_body(part, scope, module)


def _read_definition(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, scope: str, module: SourceModule
) -> None:
    name = f"{scope}.{node.name}"
    docstring = ast.get_docstring(node, clean=False)
    function: ast.FunctionDef | ast.AsyncFunctionDef | None
    if isinstance(node, ast.ClassDef):
        function = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if docstring is None and function is not None:
            docstring = ast.get_docstring(function, clean=False)
    else:
        function = node
    if docstring:
        parameters = None if function is None else _parameters(function.args)
        module.definitions.append(Definition(name, parameters, docstring))
    if isinstance(node, ast.ClassDef):
        _read_body(node.body, name, module)


def _parameters(arguments: ast.arguments) -> str:
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return re.sub(r"^(self|cls)(, /)?(, )?", "", ast.unparse(arguments))


def _read_import(node: ast.ImportFrom, module: SourceModule) -> None:
    base = module.name.split(".")
    if node.level:
        # One dot is the package itself, which for an __init__ is the module.
        base = base[: len(base) - node.level + module.is_package]
    source = ".".join([*(base if node.level else []), *([node.module] if node.module else [])])
    for alias in node.names:
        if alias.name == "*":
            module.star_imports.append(source)
        else:
            module.imports[alias.asname or alias.name] = f"{source}.{alias.name}"


def _documented_by_call(call: ast.Call, assigned: str | None) -> Iterator[Definition]:
    """Yield what torch, NumPy and SciPy, each by a function of its own, attach to compiled functions."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    match function, call.args:
        case (("add_docstr" | "_add_docstr"), [target, text, *_]):
            yield from _definition(assigned or ast.unparse(target), text)
        case "_array_method_doc", [ast.Constant(str(method)), _, text]:
            yield from _definition(f"numpy.ndarray.{method}", text)
        case "add_newdoc", [ast.Constant(str(place)), ast.Constant(str(name)), ast.Tuple([attribute, text])]:
            yield from _definition(f"{place}.{name}.{_literal_text(attribute)}", text)
        case "add_newdoc", [ast.Constant(str(place)), ast.Constant(str(name)), text]:
            yield from _definition(f"{place}.{name}", text)
        case "add_newdoc", [ast.Constant(str(name)), text]:
            yield from _definition(f"scipy.special.{name}", text)


def _definition(name: str, text: ast.expr) -> Iterator[Definition]:
    if docstring := _literal_text(text):
        yield Definition(name, None, docstring)


def _literal_text(node: ast.expr) -> str:
    """Return the text of a string expression, the names of its fields for their values; "" for no string."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _literal_text(left) + _literal_text(right)
        case ast.JoinedStr(values=parts):
            return "".join(_literal_text(part) for part in parts)
        case ast.FormattedValue(value=value):
            return ast.unparse(value)
        case ast.Call(func=ast.Attribute(value=template, attr="format")):
            return _FORMAT_FIELD.sub(lambda found: found[1] or found[0][:1], _literal_text(template))
    return ""


def is_public(name: str) -> bool:
    """Tell whether no part of a qualified name begins with an underscore."""
    return not any(part.startswith("_") for part in name.split("."))


def public_names(modules: Iterable[SourceModule]) -> dict[str, str]:
    """Return what the public packages offer: name where it is defined -> its shortest public name.

    Of equally short names the alphabetically first one counts.

    :param modules: those of one top-level package
    """
    by_name = {module.name: module for module in modules}
    public: dict[str, str] = {}
    for package in (module for module in by_name.values() if module.is_package and is_public(module.name)):
        for local in filter(is_public, _offered(package, by_name, set())):
            name = f"{package.name}.{local}"
            defined = _defined_name(name, by_name, set())
            if defined not in by_name:
                public[defined] = min(public.get(defined, name), name, key=lambda n: (n.count("."), n))
    return public


def _offered(module: SourceModule, by_name: dict[str, SourceModule], visited: set[str]) -> set[str]:
    """Return the names that a module defines and imports; ``visited`` ends circles of star imports."""
    visited.add(module.name)
    names = {*module.defined_names, *module.imports}
    for source in (by_name[star] for star in module.star_imports if star in by_name and star not in visited):
        names.update(_star_names(source, by_name, visited))
    return names


def _star_names(module: SourceModule, by_name: dict[str, SourceModule], visited: set[str]) -> Collection[str]:
    if module.exported is not None:
        return module.exported
    return set(filter(is_public, _offered(module, by_name, visited)))


def _defined_name(name: str, by_name: dict[str, SourceModule], visited: set[str]) -> str:
    """Return the name under which an object is defined: the end of the chain of imports from ``name``."""
    visited.add(name)
    owner, _, local = name.rpartition(".")
    module = by_name.get(owner)
    if module is None or local in module.defined_names:
        return name
    if local in module.imports:
        target = module.imports[local]
        return name if target in visited else _defined_name(target, by_name, visited)
    for source in (by_name[star] for star in module.star_imports if star in by_name):
        target = f"{source.name}.{local}"
        if target not in visited and local in _star_names(source, by_name, {owner}):
            return _defined_name(target, by_name, visited)
    return name
