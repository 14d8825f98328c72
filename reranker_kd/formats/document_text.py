"""The text of a document out of what an index stores of it."""

from __future__ import annotations

import json

_TEXT_FIELDS = ("contents", "text", "passage", "segment", "body")
"""Where collections keep their text: Anserini's JsonCollection, BEIR, MS MARCO v2 passages, segments, documents."""


def text_of_stored_document(raw: str | None, contents: str | None) -> str | None:
    """Return the text that an index stores of a document, or None where it stores none.

    :param raw: the stored source of the document: JSON with one of the fields contents, text, passage, segment
        or body (a title goes before all but contents, which holds it already), or plain text
    :param contents: the stored field ``contents``: what was indexed
    """
    if raw is not None and raw.lstrip().startswith("{"):
        try:
            fields = json.loads(raw)
        except ValueError:
            fields = {}
        for name in _TEXT_FIELDS:
            text = fields.get(name)
            if isinstance(text, str):
                title = fields.get("title")
                return f"{title} {text}" if name != "contents" and isinstance(title, str) and title else text
    # Markup of TREC collections reads worse than the text that was indexed.
    return contents if contents is not None else raw
