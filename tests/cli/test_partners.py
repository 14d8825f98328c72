"""An option that would have no effect is refused, with what to do about it: over all verbs."""

from __future__ import annotations

import click
import pytest

from reranker_kd.cli import cli, main
from reranker_kd.cli.options import Verb
from reranker_kd.sections import GoesWith

RERANK = "rerank --topics t --index i --model m --output o"
RETRIEVE = "retrieve --index i --topics t --output o"
FUSE = "fuse a b --output o"
EXPORT = "export --model m --output o"
ENCODE = "encode --output o"
INDEX = "index --collection c --index i"

# Command, the option that would have no effect, the one that it goes with or has no effect beside, with its value.
REFUSED = [
    ("serve --model m --index i", "--collection docs", "--index"),
    *(
        (f"{RERANK} --candidates run", option, "--candidates")
        for option in (
            *("--k1 1 --b 0", "--b 0 --k1 1", "--rm3", "--rocchio", "--qld"),
            *("--fields title=2", "--language de", "--batch-size 9"),
        )
    ),
    *(
        (command, option, partner)
        for command in (RERANK, RETRIEVE)
        for option, partner in [("--k1 1", "--b"), ("--b 1", "--k1"), ("--k1 1 --b 0 --qld", "--qld")]
    ),
    (RERANK, "--top-passages 2", "--long-documents topk"),
    (RERANK, "--top-passages 3 --long-documents maxp", "--long-documents topk"),
    (RERANK, "--passage-stride 2 --long-documents firstp", "--long-documents maxp or meanp or topk"),
    (RERANK, "--max-passages 2 --long-documents firstp", "--long-documents maxp or meanp or topk"),
    (RETRIEVE, "--max-passage-hits 100", "--max-passage"),
    (RETRIEVE, "--max-passage-delimiter .", "--max-passage"),
    (FUSE, "--rrf-k 9 --method zscore", "--method rrf"),
    (FUSE, "--alpha 0.5", "--method interpolation"),
    (FUSE, "--alpha 0.5 --method interpolation --weight 1 --weight 2", "--weight"),
    (EXPORT, "--topics t", "--calibration"),
    (EXPORT, "--collection c", "--calibration"),
    (EXPORT, "--index i", "--calibration"),
    (INDEX, "--generator g", "--collection-class"),
    (INDEX, "--fields title", "--collection-class"),
    ("benchmark --model m --candidates c --topics t --index i", "--peer-python p", "--peer"),
    *(
        (ENCODE + " --embeddings e", option, "--embeddings")
        for option in (
            *("--model m", "--part-size 9", "--shard-id 0", "--shard-num 2", "--max-length 9"),
            *("--batch-tokens 9", "--device cpu", "--precision bf16", "--backend torch"),
        )
    ),
]


def _refused(arguments: str, capsys) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("command", "options", "partner"), REFUSED)
def test_an_option_without_effect(command, options, partner, capsys):
    message = _refused(f"{command} {options}", capsys)
    # Of --k1 and --b, either may be named.
    expected = [
        text
        for option in options.split()
        for text in (
            f"Error: {option} goes with {partner}: give both, or leave {option} out",
            f"Error: {option} has no effect beside {partner}: leave out one of the two",
        )
    ]
    assert message in expected


def test_every_partnership_is_tested():
    tested = {(command.split()[0], options.split()[0]) for command, options, _ in REFUSED}
    context = click.Context(cli)
    for verb in cli.list_commands(context):
        command = cli.get_command(context, verb)
        options = {param.name: param.opts[0] for param in command.params}
        declared = {(verb, options[name]) for name, _ in getattr(command.callback, "partners", ())}
        assert verb == "compare" or declared <= tested
        assert not declared or isinstance(command, Verb)


def test_every_partner_is_an_option_of_its_verb():
    context = click.Context(cli)
    for verb in cli.list_commands(context):
        command = cli.get_command(context, verb)
        params = {param.name: param for param in command.params}
        for name, partner in getattr(command.callback, "partners", ()):
            assert {name, partner.key} <= params.keys()
            values = partner.values if isinstance(partner, GoesWith) else ()
            assert not values or set(values) <= set(params[partner.key].type.choices)


@pytest.mark.parametrize(
    "command",
    [
        f"{RERANK} --top-passages 2 --long-documents topk",
        f"{RERANK} --k1 0 --b 0",
        f"{RETRIEVE} --max-passage --max-passage-hits 5",
        f"{FUSE} --method interpolation --alpha 0.5",
    ],
)
def test_with_its_partner_it_is_taken(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    # The files are not there.
    assert stopped.value.code == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{RERANK} --long-documents topk --passage-stride 5 --passage-length 2", "leave tokens out"),
        (f"{RETRIEVE} --fields title", "expected NAME=WEIGHT, such as title=2"),
        (f"{RERANK} --precision fp16", "'fp16' is not one of"),
        ("rerank --topics t --candidates c --output o", "give index or collection, one of the two"),
        ("rerank --topics t --candidates c --output o --index i --collection c", "give index or collection"),
    ],
)
def test_other_wrong_usage(command, message, capsys):
    assert message in _refused(command, capsys)
