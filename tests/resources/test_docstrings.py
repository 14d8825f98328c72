"""Reading docstrings statically, from a package written by hand."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from reranker_kd.errors import InputError
from reranker_kd.resources.docstrings import Definition, documented_names

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


Read = Callable[..., dict[str, Definition]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Write the sources of a package and return what it documents: public name -> definition."""
    monkeypatch.syspath_prepend(tmp_path)

    def read_package(sources: dict[str, str], package: str, skipped: Collection[str] = ()) -> dict[str, Definition]:
        for name, source in sources.items():
            path = tmp_path / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source).strip(), encoding="utf-8")
        importlib.invalidate_caches()
        return dict(documented_names(package, skipped))

    return read_package


def test_public_names_follow_imports_and_nothing_is_imported(read):
    found = read(SOURCES, "geometry_by_hand", ["vendored"])
    assert {name: definition.docstring for name, definition in found.items()} == {
        "geometry_by_hand.Disc": "A circle.",
        "geometry_by_hand.Disc.draw": "Draw it.",
        "geometry_by_hand.area": "Area of a shape.",
        "geometry_by_hand.compiled": "compiled(x) input",
        "geometry_by_hand.shapes": "Shapes.",
        "geometry_by_hand.shapes.circle.unit_circle": "The kind circle.",
    }
    assert found["geometry_by_hand.area"] == Definition(
        "geometry_by_hand._core.area", "shape, *, unit='m'", "Area of a shape."
    )
    assert "geometry_by_hand" not in sys.modules


def test_a_stub_adds_to_its_source(read):
    sources = {"__init__.py": "from .core import *", "core.py": "def a():\n    'A.'", "core.pyi": "def b():\n    'B.'"}
    assert set(read(sources, "package_with_stub")) == {"package_with_stub.a", "package_with_stub.b"}


def test_parameters_have_defaults_but_no_annotations(read):
    found = read({"__init__.py": "class C:\n    def f(self, x: int = 1, *, y: str, **z):\n        'Doc.'"}, "one_class")
    assert found == {"one_class.C.f": Definition("one_class.C.f", "x=1, *, y, **z", "Doc.")}


@pytest.mark.parametrize(
    ("source", "name", "docstring"),
    [
        ("add_docstr(attaching.abs, 'abs(x)')", "attaching.abs", "abs(x)"),
        ("abs = _C._add_docstr(_C.abs, 'abs' + '(x)')", "attaching.abs", "abs(x)"),
        ("add_newdoc('attaching', 'flatiter', 'Flat.')", "attaching.flatiter", "Flat."),
        ("add_newdoc('attaching', 'flatiter', ('base', 'Base.'))", "attaching.flatiter.base", "Base."),
    ],
)
def test_docstrings_attached_by_a_call(read, source, name, docstring):
    assert read({"__init__.py": source}, "attaching") == {name: Definition(name, None, docstring)}


def test_circular_star_imports_end(read):
    sources = {
        "__init__.py": "from ._a import *",
        "_a.py": "from ._b import *",
        "_b.py": "from ._a import *\ndef f():\n    'Doc.'",
    }
    assert read(sources, "circular") == {"circular.f": Definition("circular._b.f", "", "Doc.")}


def test_relative_imports_are_relative_to_the_package(read):
    defined = "def f():\n    'Doc.'"
    sources = {
        "__init__.py": "from .inner import *",
        "inner/__init__.py": "from ._private import f as g\nfrom .._private import f as h",
        "inner/_private.py": defined,
        "_private.py": defined,
    }
    found = read(sources, "relative")
    assert {name: definition.name for name, definition in found.items()} == {
        "relative.g": "relative.inner._private.f",
        "relative.h": "relative._private.f",
    }


def test_missing_package_is_named():
    with pytest.raises(InputError, match="no_such_package is not installed"):
        list(documented_names("no_such_package"))
