"""The pages of the service: whole in themselves, and allowed to run no script but their own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from starlette.responses import HTMLResponse


def search_page() -> HTMLResponse:
    """Return the page on which a query shows BM25 beside each model."""
    return _page(_resource("search.html"), _resource("search.js"))


def reference_page(schema: Mapping[str, Any]) -> HTMLResponse:
    """Return a page about an OpenAPI schema, which works without network."""
    operations = "".join(
        _operation(schema, path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    head = f"<h1>{escape(schema['info']['title'])}</h1><p>{escape(schema['info']['description'])}</p>"
    links = '<p><a href="/">Compare models</a> · <a href="/openapi.json">OpenAPI schema</a></p>'
    html = _resource("reference.html").replace("{{content}}", f"{head}{links}{operations}")
    return _page(html, "")


def _operation(schema: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"]
    bodies = [("Request", operation["requestBody"])] if "requestBody" in operation else []
    for title, body in [*bodies, ("Answer", operation["responses"]["200"])]:
        parts.append(f"<h3>{title}</h3>{_fields(schema, body['content']['application/json']['schema'])}")
    faults = [(status, fault["description"]) for status, fault in operation["responses"].items() if status != "200"]
    if faults:
        rows = "".join(f"<tr><td>{escape(status)}</td><td>{escape(meaning)}</td></tr>" for status, meaning in faults)
        parts.append(f"<h3>Faults</h3><table>{rows}</table>")
    return f"<section>{''.join(parts)}</section>"


def _fields(schema: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    shape = schema["components"]["schemas"][reference["$ref"].rsplit("/", 1)[-1]]
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{'' if name in shape.get('required', ()) else ' (optional)'}</td>"
        f"<td>{escape(_type(field))}</td><td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in shape["properties"].items()
    )
    return f"<table><tr><th>field</th><th>type</th><th>meaning</th></tr>{rows}</table>"


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(map(_type, field["anyOf"]))
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1]
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    default = f", {json.dumps(field['default'])} by default" if field.get("default") is not None else ""
    return f"{field.get('type', 'any')}{default}"


def _page(html: str, script: str) -> HTMLResponse:
    style = _resource("style.css")
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    html = html.replace("{{style}}", style).replace("{{script}}", script)
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _source(inline: str) -> str:
    if not inline:
        return "'none'"
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


@cache
def _resource(name: str) -> str:
    return (files("reranker_kd.serve") / "assets" / name).read_text(encoding="utf-8")
