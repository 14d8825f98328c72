"""Reading docstrings out of source files: nothing is imported and no code of the package is run.

A package defines a function in one module and offers it under another name (``numpy.linalg._linalg.svd`` is
``numpy.linalg.svd`` to everybody), so the import statements are read as well.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reranker_kd.errors import InputError

_NOT_API = frozenset({"tests", "test", "testing", "conftest", "setup", "__main__", "version"})
_FORMAT_FIELD = re.compile(r"\{\{|\}\}|\{(\w*)\}")

# Bases whose methods everybody calls through one heir.
_HEIRS = {
    "matplotlib.axes._base._AxesBase": "matplotlib.axes.Axes",
    "pandas.core.base.IndexOpsMixin": "pandas.Series",
    "pandas.core.generic.NDFrame": "pandas.DataFrame",
    "torch.TensorBase": "torch.Tensor",
}


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


def documented_names(package: str, skipped: Collection[str] = ()) -> Iterator[tuple[str, Definition]]:
    """Yield (public name, definition) of what an installed package documents, sorted by module.

    The public name is the shortest one, and of those the alphabetically first, that a public subpackage offers. What
    has none is left out, and so are tests. A stub (``.pyi``) adds its definitions to those of the source beside it:
    compiled code is documented there.

    :param package: the import name of a top-level package
    :param skipped: modules and subpackages to leave out, as named below the package
    :raises InputError: no such package is installed
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {package} is not installed; install reranker-kd with its constraints.txt")
    root = Path(spec.submodule_search_locations[0])
    left_out = tuple(f"{package}.{name}." for name in skipped)
    modules: dict[str, _Module] = {}
    for path in sorted(path for path in root.rglob("*.py*") if path.suffix in {".py", ".pyi"}):
        parts = [package, *path.relative_to(root).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        if not _NOT_API.isdisjoint(parts) or f"{name}.".startswith(left_out):
            continue
        module = _Module(name, is_package)
        with warnings.catch_warnings():
            # An invalid escape in somebody's docstring is no news to our user.
            warnings.simplefilter("ignore", SyntaxWarning)
            module.visit(ast.parse(path.read_text(encoding="utf-8")))
        if modules.setdefault(name, module) is not module:
            modules[name].definitions += module.definitions
    public = {name: _HEIRS.get(offered, offered) for name, offered in _public_names(modules).items()}
    for _, module in sorted(modules.items()):
        for definition in module.definitions:
            docid = _renamed(definition.name, _HEIRS | public)
            if _is_public(docid) and docid.startswith(package):
                yield docid, definition


class _Module(ast.NodeVisitor):
    """What the source of one module says of itself, without the bodies of its functions.

    :ivar imports: local name -> qualified name of what ``from x import y as local`` brings
    :ivar star_imports: the modules of ``from x import *``
    :ivar exported: the literal ``__all__``, or None
    """

    def __init__(self, name: str, is_package: bool) -> None:
        self.name = self._scope = name
        self.is_package = is_package
        self.definitions: list[Definition] = []
        self.imports: dict[str, str] = {}
        self.star_imports: list[str] = []
        self.exported: list[str] | None = None

    def names(self) -> dict[str, str]:
        """Return local name -> qualified name of what it imports by name, or defines and documents."""
        prefix = f"{self.name}."
        defined = [d.name.removeprefix(prefix).split(".")[0] for d in self.definitions if d.name.startswith(prefix)]
        return self.imports | {name: prefix + name for name in defined}

    def visit_Module(self, node: ast.Module) -> None:
        self._define(self.name, ast.get_docstring(node, clean=False))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._define(f"{self._scope}.{node.name}", ast.get_docstring(node, clean=False), node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._scope = self._scope, f"{self._scope}.{node.name}"
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        docstring = ast.get_docstring(node, clean=False)
        if docstring is None and init is not None:
            docstring = ast.get_docstring(init, clean=False)
        self._define(self._scope, docstring, init)
        self.generic_visit(node)
        self._scope = outer

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        package = self.name if self.is_package else self.name.rpartition(".")[0]
        source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names if self._scope == self.name else ():
            if alias.name == "*":
                self.star_imports.append(source)
            else:
                self.imports[alias.asname or alias.name] = f"{source}.{alias.name}"

    def visit_Assign(self, node: ast.Assign) -> None:
        match node:
            case ast.Assign(targets=[ast.Name("__all__")], value=ast.List() | ast.Tuple() as names):
                self.exported = [_text(name) for name in names.elts]
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(documented), attr="__doc__")], value=text):
                self._define(f"{self._scope}.{documented}", _text(text))
            case ast.Assign(targets=[ast.Name(target)], value=ast.Call() as call):
                self._define_by_call(call, f"{self._scope}.{target}")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._define_by_call(node.value, None)

    def _define_by_call(self, call: ast.Call, assigned: str | None) -> None:
        """Take what torch, NumPy and SciPy, each by a function of its own, attach to compiled functions."""
        match ast.unparse(call.func).rpartition(".")[2], call.args:
            case (("add_docstr" | "_add_docstr"), [target, text, *_]):
                self._define(assigned or ast.unparse(target), _text(text))
            case "_array_method_doc", [ast.Constant(str(method)), _, text]:
                self._define(f"numpy.ndarray.{method}", _text(text))
            case "add_newdoc", [ast.Constant(str(place)), ast.Constant(str(name)), ast.Tuple([attribute, text])]:
                self._define(f"{place}.{name}.{_text(attribute)}", _text(text))
            case "add_newdoc", [ast.Constant(str(place)), ast.Constant(str(name)), text]:
                self._define(f"{place}.{name}", _text(text))
            case "add_newdoc", [ast.Constant(str(name)), text]:
                self._define(f"scipy.special.{name}", _text(text))

    def _define(
        self, name: str, docstring: str | None, function: ast.FunctionDef | ast.AsyncFunctionDef | None = None
    ) -> None:
        parameters = None
        if function is not None:
            for argument in ast.walk(function.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
            parameters = re.sub(r"^(self|cls)(, /)?(, )?", "", ast.unparse(function.args))
        if docstring:
            self.definitions.append(Definition(name, parameters, docstring))


def _text(node: ast.expr) -> str:
    """Return the text of a string expression, the names of its fields for their values; "" for no string."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case ast.FormattedValue(value=value):
            return ast.unparse(value)
        case ast.Call(func=ast.Attribute(value=template, attr="format")):
            return _FORMAT_FIELD.sub(lambda found: found[1] or found[0][:1], _text(template))
    return ""


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _public_names(modules: Mapping[str, _Module]) -> dict[str, str]:
    """Return name where it is defined -> its shortest public name, of all that the public packages offer."""
    names = {module.name: module.names() for module in modules.values()}
    count = -1
    # Star imports bring what others brought: until there is nothing new.
    while count != (count := sum(map(len, names.values()))):
        for module in modules.values():
            for source in filter(names.__contains__, module.star_imports):
                exported = modules[source].exported
                for local in filter(_is_public, [*names[source]]) if exported is None else exported:
                    names[module.name].setdefault(local, f"{source}.{local}")

    def defined(name: str, *visited: str) -> str:
        owner, _, local = name.rpartition(".")
        target = names.get(owner, {}).get(local, name)
        return name if target in (name, *visited) else defined(target, name, *visited)

    public: dict[str, str] = {}
    for package in filter(_is_public, (module.name for module in modules.values() if module.is_package)):
        for name in (f"{package}.{local}" for local in names[package] if _is_public(local)):
            place = defined(name)
            if place not in modules:
                public[place] = min(public.get(place, name), name, key=lambda n: (n.count("."), n))
    return public


def _renamed(name: str, new_names: Mapping[str, str]) -> str:
    """Return a name with its longest beginning that has a new name replaced by that."""
    owner, _, local = name.rpartition(".")
    return new_names.get(name) or (f"{_renamed(owner, new_names)}.{local}" if owner else name)
