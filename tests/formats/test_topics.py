from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.topics import read_topics

EXPECTED = {"301": "international organized crime", "302": "poliomyelitis and post-polio"}

TSV = "301\tinternational organized crime\n302\tpoliomyelitis and post-polio\n"

# The layout of TREC-7: unclosed tags, "Number:", the title on the line below its tag.
TREC_UNCLOSED = """
<top>

<num> Number: 301
<title> International Organized Crime

<desc> Description:
Identify organizations that participate in <title>-like crime.

<narr> Narrative:
A relevant document must name one.

</top>

<top>
<num> Number: 302
<title>
Poliomyelitis
and Post-Polio

<desc> Description:
Is the disease under control?
</top>
"""

# The layout of TREC-1: a label before the title, numbers with leading zeros, other fields in front.
TREC_LABELLED = """<top>
<head> Tipster Topic Description
<num> Number:  051
<dom> Domain:  International Economics
<title> Topic:  Airbus Subsidies
<desc> Description: Document will discuss subsidies.
</top>
"""

# The layouts of the Common Core track and of FIRE.
TREC_CLOSED = """<top lang='en'>
<num>301</num>
<title>international organized crime</title>
<desc>Identify</desc></top>
<TOP><NUM>302</NUM><TITLE>poliomyelitis and post-polio</TITLE></TOP>
"""

CACM = """<DOC>
<DOCNO> 301 </DOCNO>


 international organized
crime

</DOC>
<DOC>
<DOCNO> 302 </DOCNO>
poliomyelitis and post-polio
</DOC>
"""

# The layouts of the Web track and of TREC-COVID.
WEB_XML = """<?xml version="1.0" encoding="UTF-8"?>
<webtrack2010>
  <topic number="301" type="ambiguous">
    <query>international organized crime</query>
    <description>Find <title>other</title> pages.</description>
    <subtopic number="1" type="nav">A page</subtopic>
  </topic>
  <topic number="302"><query>poliomyelitis &#97;nd
      <b>post</b>-polio</query></topic>
</webtrack2010>
"""
TITLE_XML = """<topics><topic number="301"><title>international organized crime</title></topic>
<topic id="302"><title>poliomyelitis and post-polio</title></topic></topics>"""

JSONL = """{"_id": "301", "text": "international organized crime", "metadata": {}}
{"_id": "302", "text": "poliomyelitis and post-polio"}
"""
JSONL_OTHER_KEYS = """{"qid": 301, "title": "international organized crime", "text": "longer"}

{"id": "302", "query": "poliomyelitis and post-polio", "title": "t"}
"""


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encode", [str.encode, lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()])
@pytest.mark.parametrize(
    ("content", "topics_format"),
    [
        (TSV, "tsv"),
        (TREC_UNCLOSED, "trec"),
        (TREC_CLOSED, "trec"),
        (CACM, "trec"),
        (WEB_XML, "xml"),
        (TITLE_XML, "xml"),
        (JSONL, "jsonl"),
        (JSONL_OTHER_KEYS, "jsonl"),
    ],
)
def test_every_layout_is_read_told_or_named(tmp_path, content, topics_format, encode, compress):
    path = tmp_path / "topics"
    path.write_bytes(compress(encode(content)))
    for named in (None, topics_format):
        topics = read_topics(path, named)
        assert {qid: text.lower() for qid, text in topics.items()} == EXPECTED


def test_numbers_lose_leading_zeros_and_titles_their_label(tmp_path):
    path = tmp_path / "topics"
    path.write_text(TREC_LABELLED)
    assert read_topics(path) == {"51": "Airbus Subsidies"}


def test_the_order_is_that_of_the_file(tmp_path):
    path = tmp_path / "topics"
    path.write_text("9\ta\n10\tb\n2\tc\n")
    assert list(read_topics(path)) == ["9", "10", "2"]


WORDS = st.text(min_size=1, max_size=9).filter(lambda text: text.split() == [text] and "\ufeff" not in text)


@given(topics=st.dictionaries(WORDS, st.lists(WORDS, min_size=1).map(" ".join), min_size=1))
def test_json_lines_give_back_any_topics(tmp_path, topics):
    path = tmp_path / "topics.jsonl"
    path.write_text("".join(json.dumps({"qid": qid, "query": text}) + "\n" for qid, text in topics.items()))
    assert read_topics(path) == topics


FAULTS = {
    "missing tab": ("1\ta\n2 b\n", 2, "expected 2 columns, qid TAB text, got 1"),
    "third column": ("1\ta\n2\tb\tc\n", 2, "expected 2 columns, qid TAB text, got 3"),
    "empty query": ("1\ta\n2\t \n", 2, "topic 2 has no query text"),
    "empty qid": ("1\ta\n\tb\n", 2, "the qid is empty"),
    "whitespace in qid": ("1\ta\n\n2 3\tb\n", 3, "the qid '2 3' has whitespace"),
    "duplicate qid": ("1\ta\n2\tb\n1\tc\n", 3, "topic 1 is in the file twice"),
    "empty file": ("", None, "no topics"),
    "blank lines only": ("\n \n", None, "no topics"),
    "invalid JSON": ('{"id": "1", "query": "a"}\n{"id": "2"', 2, "invalid JSON at column 11: Expecting ',' delimiter"),
    "deep JSON": ('{"id": "1", "query": "a"}\n' + "[" * 200_000, 2, "invalid JSON: maximum recursion depth"),
    "no JSON object": ('{"id": "1", "query": "a"}\n["2", "b"]', 2, "expected one JSON object a line, got an array"),
    "no identifier": ('{"id": "1", "query": "a"}\n{"number": "2", "query": "b"}', 2, "_id or id or qid, got number, q"),
    "no query": ('{"id": "1", "query": "a"}\n{"id": "2"}', 2, "expected the key query or title or text, got id"),
    "wrong type of text": (
        '{"id": "1", "query": "a"}\n{"id": "2", "query": 2}',
        2,
        "expected a string under query, got",
    ),
    "wrong type of qid": ('{"id": "1", "query": "a"}\n{"id": true, "query": "b"}', 2, "under id, got a boolean"),
    "empty JSON qid": ('{"id": "1", "query": "a"}\n{"id": "", "query": "b"}', 2, "the qid is empty"),
    "half surrogate": ('{"id": "1", "query": "a"}\n{"id": "2", "query": "\\ud83d"}', 2, r"surrogate pair \(\\ud83d\)"),
    "no num": ("<top>\n<num> 1\n<title> a\n</top>\n<top>\n<title> b\n</top>", 5, "expected <num> or <DOCNO>"),
    "no title": ("<top>\n<num> 1\n<title> a\n</top>\n\n<top>\n<num> 2\n</top>", 6, "topic 2 has no query text"),
    "empty title": ("<top>\n<num> 1\n<title>\n<desc> Description: d\n</top>", 1, "topic 1 has no query text"),
    "two words as number": ("<top>\n<num> Number: 1 2\n<title> a\n</top>", 1, "the qid '1 2' has whitespace"),
    "broken XML": ('<topics>\n<topic number="1"><query>a</query>\n</topics>', 3, "invalid XML at column 3: mismatched"),
    "cut XML": (
        '<topics>\n<topic number="1"><query>a</query></topic>\n',
        2,
        "invalid XML at column [0-9]+: no element",
    ),
    "no number in XML": ("<topics>\n\n<topic><query>a</query></topic></topics>", 3, "the qid is empty"),
    "no query in XML": ('<topics>\n<topic number="1"><narrative>a</narrative></topic></topics>', 2, "no query text"),
    "no topic in XML": ("<topics></topics>", None, "no topics"),
}


@pytest.mark.parametrize(("content", "line", "fault"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named_with_their_line(tmp_path, content, line, fault):
    path = tmp_path / "topics"
    path.write_text(content)
    with pytest.raises(FormatError, match=fault) as raised:
        read_topics(path)
    assert (raised.value.path, raised.value.line) == (str(path), line)


def test_entities_are_never_expanded(tmp_path):
    path = tmp_path / "bomb.xml"
    path.write_text(
        '<?xml version="1.0"?>\n<!DOCTYPE t [\n<!ENTITY a "aaaaaaaaaa">\n<!ENTITY b "&a;&a;&a;&a;">\n]>\n'
        '<topics><topic number="1"><query>&b;</query></topic></topics>'
    )
    with pytest.raises(FormatError, match=r"bomb\.xml:2: a DOCTYPE is not accepted"):
        read_topics(path)


def test_every_fault_is_reported_and_the_rest_read(tmp_path):
    path = tmp_path / "topics.tsv"
    path.write_bytes(b"1\ta\nbad\n2\tb\n\xff\tc\n2\td\n3\te\n")
    faults = []
    assert read_topics(path, report=faults.append) == {"1": "a", "2": "b", "3": "e"}
    assert sorted(fault.line for fault in faults) == [2, 4, 5]


def test_an_unknown_format_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="unknown topics format 'csv'; expected one of tsv, trec, xml, jsonl"):
        read_topics(tmp_path / "topics", "csv")


@pytest.mark.parametrize(
    ("name", "count", "qid", "text"),
    [
        ("trec-dl/topics.dl20.tsv", 54, "23849", "are naturalization records public information"),
        ("trec-dl/topics.dl21.tsv", 53, "2082", "At about what age do adults normally begin to lose bone mass?"),
        ("trec-dl/topics.dl22.tsv", 76, "2000719", "business architect role definition"),
        ("trec-dl/queries.msmarco-train-sample.tsv.gz", 48794, "26", "contextual spoken language understanding"),
        (
            "cranfield/topics.cranfield.tsv",
            225,
            "2",
            "what are the structural and aeroelastic problems associated with flight of high speed aircraft .",
        ),
    ],
)
def test_topics_of_the_test_collections(shared_data, name, count, qid, text):
    topics = read_topics(shared_data / name)
    assert len(topics) == count
    assert topics[qid] == text


def test_cacm_topics_are_the_same_in_both_formats(shared_data):
    topics = read_topics(shared_data / "cacm" / "topics.cacm.trec.txt")
    assert len(topics) == 64
    assert topics == read_topics(shared_data / "cacm" / "topics.cacm.tsv")
