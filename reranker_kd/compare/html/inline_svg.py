"""Pictures as SVG within a page: shapes alone, in the page's own ink and paper.

What matplotlib writes is taken apart, and only known elements with known attributes go into the page. There is no
script, link, text or style among them, so that nothing in a picture can act, and the page needs to allow no style but
its own. White turns into the class ``paper``, black into ``currentColor``, so that pictures follow light and dark.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"

_ELEMENTS = {"svg", "g", "defs", "path", "use", "clipPath", "pattern", "rect"}
_PLACES = {"x", "y", "width", "height", "viewBox", "d", "transform", "patternUnits"}
_PAINT = {
    *("fill", "fill-opacity", "fill-rule", "opacity", "clip-rule"),
    *("stroke", "stroke-width", "stroke-opacity", "stroke-linejoin", "stroke-linecap", "stroke-dasharray"),
    *("stroke-dashoffset", "stroke-miterlimit"),
}
_WHITE, _BLACK = {"#ffffff", "white"}, {"#000000", "black"}

_OWN_REFERENCE = re.compile(r"url\(#([\w-]+)\)")
_PLAIN = re.compile(r"[\w\s#.,()+%-]*")


def inline_svg(svg: str, name: str, label: str) -> str:
    """Return an ``svg`` element to be put into a page.

    :param svg: a document that matplotlib wrote
    :param name: one word, which no other picture of the page has: its ids begin with it
    :param label: what those are told who do not see it
    """
    root = _cleaned(ET.fromstring(svg), name)
    # What matplotlib says in a style element, and what it leaves out since it is the default.
    root.attrib |= {"fill": "currentColor", "stroke-linejoin": "round", "stroke-linecap": "butt"}
    root.attrib |= {"role": "img", "aria-label": label}
    # The page's style gives the size.
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    return ET.tostring(root, encoding="unicode")


def _cleaned(element: ET.Element, name: str) -> ET.Element:
    kept = ET.Element(element.tag.removeprefix(_SVG))
    for attribute, value in _attributes(element):
        if value in _WHITE and attribute == "fill":
            kept.set("class", "paper")
        elif value in _BLACK:
            kept.set(attribute, "currentColor")
        elif own := _OWN_REFERENCE.fullmatch(value):
            kept.set(attribute, f"url(#{name}-{own[1]})")
        elif _PLAIN.fullmatch(value):
            kept.set(attribute, value)
    if (identifier := element.get("id")) and _PLAIN.fullmatch(identifier):
        kept.set("id", f"{name}-{identifier}")
    if (reference := element.get(_HREF, "")).startswith("#") and _PLAIN.fullmatch(reference):
        kept.set("href", f"#{name}-{reference[1:]}")
    kept.extend(_cleaned(child, name) for child in element if child.tag.removeprefix(_SVG) in _ELEMENTS)
    return kept


def _attributes(element: ET.Element) -> Iterator[tuple[str, str]]:
    """Yield the known attributes, those too that stand in a style."""
    for attribute, value in element.attrib.items():
        if attribute in _PLACES | _PAINT | {"clip-path"}:
            yield attribute, value
    for declaration in element.get("style", "").split(";"):
        attribute, _, value = (part.strip() for part in declaration.partition(":"))
        if attribute in _PAINT:
            yield attribute, value
