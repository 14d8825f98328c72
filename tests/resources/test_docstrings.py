"""Reading docstrings statically, from a package written by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reranker_kd.errors import InputError
from reranker_kd.resources.docstrings import Definition, is_public, public_names, read_package, read_source
from reranker_kd.resources.sample_collection import documented_names

SOURCES = {
    "__init__.py": """
        from ._core import *
        from .shapes.circle import Circle as Disc
        from . import shapes
    """,
    "_core.py": """
        '''Private module.'''
        __all__ = ["area", "compiled"]
        def area(shape, *, unit: str = "m"):
            '''Area of a shape.'''
        def volume(shape):
            '''Not exported.'''
        compiled = _C._add_docstr(_C.compiled, r'''compiled(x) {input}'''.format(**common))
        raise RuntimeError("this code must not run")
    """,
    "_core.pyi": """
        def perimeter(shape: object) -> float:
            '''From the stub.'''
    """,
    "shapes/__init__.py": "'''Shapes.'''\nfrom ..shapes.circle import Circle",
    "shapes/circle.py": """
        class Circle:
            def __init__(self, radius=1.0):
                '''A circle.'''
            async def draw(self, canvas):
                '''Draw it.'''
            @property
            def radius(self): return 1.0
        class _Hidden:
            '''Private class.'''
        if True:
            def unit_circle():
                '''The circle of radius 1.'''
        Circle.draw.__doc__ = "not a name"
        unit_circle.__doc__ = '''The ''' + f'''{kind} circle.'''
    """,
    "tests/test_area.py": "def test_area():\n    '''A test.'''",
    "vendored/copy.py": "def other():\n    '''Of another package.'''",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, source in SOURCES.items():
        path = tmp_path / "geometry_by_hand" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = source.strip("\n").splitlines()
        indentation = len(lines[0]) - len(lines[0].lstrip())
        path.write_text("\n".join(line[indentation:] for line in lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "geometry_by_hand"


def test_public_names_follow_imports(package):
    public = public_names(read_package(package))
    assert public["geometry_by_hand._core.area"] == "geometry_by_hand.area"
    assert public["geometry_by_hand.shapes.circle.Circle"] == "geometry_by_hand.Disc"
    assert "geometry_by_hand._core.volume" not in public
    assert "geometry_by_hand.shapes" not in public


def test_documented_names(package):
    found = {name: d.docstring for name, d in documented_names(package, ("geometry_by_hand.vendored",))}
    assert found == {
        "geometry_by_hand.Disc": "A circle.",
        "geometry_by_hand.Disc.draw": "Draw it.",
        "geometry_by_hand.area": "Area of a shape.",
        "geometry_by_hand.compiled": "compiled(x) input",
        "geometry_by_hand.shapes": "Shapes.",
        "geometry_by_hand.shapes.circle.unit_circle": "The kind circle.",
    }


def test_nothing_is_imported(package):
    list(documented_names(package))
    assert package not in sys.modules


def test_a_stub_adds_to_its_source(package):
    (core,) = (module for module in read_package(package) if module.name.endswith("._core"))
    assert {d.name.rpartition(".")[2] for d in core.definitions} == {
        "_core",
        "area",
        "compiled",
        "perimeter",
        "volume",
    }


def test_parameters_have_defaults_but_no_annotations():
    module = read_source("m", "class C:\n    def f(self, x: int = 1, *, y: str, **z):\n        'Doc.'")
    assert module.definitions == [Definition("m.C.f", "x=1, *, y, **z", "Doc.")]


@pytest.mark.parametrize(
    ("source", "name", "docstring"),
    [
        ("add_docstr(torch.abs, 'abs(x)')", "torch.abs", "abs(x)"),
        ("add_newdoc('numpy._core', 'flatiter', 'Flat.')", "numpy._core.flatiter", "Flat."),
        ("add_newdoc('numpy._core', 'flatiter', ('base', 'Base.'))", "numpy._core.flatiter.base", "Base."),
        ("_array_method_doc('sort', 'axis=-1', 'Sort.')", "numpy.ndarray.sort", "Sort."),
        ("add_newdoc('airy', 'Airy functions.')", "scipy.special.airy", "Airy functions."),
    ],
)
def test_docstrings_attached_by_a_call(source, name, docstring):
    assert read_source("m", source).definitions == [Definition(name, None, docstring)]


def test_relative_imports_are_relative_to_the_package():
    source = "from . import a\nfrom .b import c as d\nfrom ..e import *\nfrom other import f"
    in_package = read_source("p.q", source, is_package=True)
    assert in_package.imports == {"a": "p.q.a", "d": "p.q.b.c", "f": "other.f"}
    assert in_package.star_imports == ["p.e"]
    assert read_source("p.q.m", source).imports == in_package.imports


def test_circular_star_imports_end():
    modules = [
        read_source("p", "from .a import *", is_package=True),
        read_source("p.a", "from .b import *"),
        read_source("p.b", "from .a import *\ndef f():\n    'Doc.'"),
    ]
    assert public_names(modules) == {"p.b.f": "p.f"}


def test_private_names():
    assert is_public("a.b")
    assert not is_public("a._b.c")


def test_missing_package_is_named():
    with pytest.raises(InputError, match="no_such_package is not installed"):
        list(read_package("no_such_package"))
