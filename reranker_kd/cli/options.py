"""Options of the command line: made out of the sections that declare them, and a few that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import click
from click.core import ParameterSource
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reranker_kd.errors import InputError
from reranker_kd.inference.options import ModelOptions, full_precision
from reranker_kd.sections import Partner, checked

if TYPE_CHECKING:
    from reranker_kd.evaluate.grid import Grid

Command = TypeVar("Command", bound=Callable[..., Any])
Kind = TypeVar("Kind", bound=BaseModel)

COUNT = click.IntRange(min=1)


class Choice(click.Choice[str]):
    """A choice that also takes the short names of precisions, ``fp32`` and ``bf16``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the full name."""
        return super().convert(full_precision(value), param, ctx)


class Verb(click.Command):
    """A command that refuses options which would have no effect, as :func:`partner` declares them."""

    def invoke(self, ctx: click.Context) -> Any:
        """Check the options that were given, then run."""
        for name, partner in getattr(self.callback, "partners", ()):
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                fault = partner.fault(name, ctx.params, _spelled_in(ctx))
                if fault is not None:
                    raise click.UsageError(fault, ctx)
        return super().invoke(ctx)


def partner(other: Partner, *names: str) -> Callable[[Command], Command]:
    """Declare without which option, or beside which one, these have no effect."""

    def declare(command: Command) -> Command:
        command.partners = [*getattr(command, "partners", ()), *((name, other) for name in names)]  # type: ignore[attr-defined]
        return command

    return declare


class _Weight(click.ParamType):
    name = "NAME=WEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        name, _, weight = str(value).partition("=")
        try:
            return name, float(weight)
        except ValueError:
            self.fail(f"{value!r}: expected NAME=WEIGHT, such as title=2", param, ctx)


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return one decorator out of several, the first on top."""
    return lambda command: reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def options_of(section: type[BaseModel], keys: Collection[str] | None = None) -> Callable[[Command], Command]:
    """Return an option for each field of a section that has a description, with its partners.

    :param keys: of these fields alone
    """
    fields = {
        key: field for key, field in section.model_fields.items() if field.description and (keys is None or key in keys)
    }
    return together(
        *(_option_of(key, field) for key, field in fields.items()),
        *(partner(one, key) for key, field in fields.items() for one in field.metadata if isinstance(one, Partner)),
    )


def section(kind: type[Kind], options: Mapping[str, Any], **settings: Any) -> Kind:
    """Return the section that a command's options make, wrong usage where they do not fit together.

    :param options: the command's keywords, of which the section takes its own
    :param settings: what is no option, or is named otherwise
    """
    given = {key: options[key] for key in kind.model_fields if options.get(key) is not None}
    context = click.get_current_context()
    try:
        return checked(kind, given | settings, _spelled_in(context))
    except InputError as error:
        raise click.UsageError(str(error), context) from None


def model_or(default: str, model: str | None) -> str:
    """Return the model; without one the default, a bundled student, and say so on stderr."""
    if model is None:
        click.echo(
            f"no --model is given: taking {default}, a bundled student for English web passages; on other texts, "
            "measure it against BM25 first",
            err=True,
        )
    return model or default


def echo_table(table: Grid) -> None:
    """Print a table, in the styles of a terminal where stdout is one."""
    from reranker_kd.evaluate.grid import table_text

    click.echo(table_text(table, styled=sys.stdout.isatty()))


def _option_of(key: str, field: FieldInfo) -> Callable[[Command], Command]:
    default = field.get_default(call_default_factory=True)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    keywords: dict[str, Any] = {"help": field.description, "metavar": extra.get("metavar")}
    if get_origin(field.annotation) is dict:
        keywords |= {"type": _Weight(), "multiple": True, "callback": lambda _ctx, _option, pairs: dict(pairs)}
    elif field.annotation is bool:
        keywords |= {"is_flag": True, "default": default}
    else:
        keywords |= {"type": _type_of(field), "default": default}
    return click.option(f"--{key.replace('_', '-')}", key, **keywords)


def _type_of(field: FieldInfo) -> click.ParamType:
    annotation: Any = field.annotation
    kind = get_args(annotation)[0] if isinstance(annotation, UnionType) else annotation
    if get_origin(kind) is Literal:
        return Choice(get_args(kind))
    lowest = {name: getattr(bound, name) for bound in field.metadata for name in ("ge", "gt") if hasattr(bound, name)}
    bounds: dict[str, Any] = {"min": next(iter(lowest.values()), None), "min_open": "gt" in lowest}
    ranges: dict[Any, Any] = {int: click.IntRange, float: click.FloatRange}
    return ranges[kind](**bounds) if lowest else click.types.convert_type(kind)


def _spelled_in(context: click.Context) -> Callable[[str], str]:
    names = {param.name: max(param.opts, key=len) for param in context.command.params}
    return lambda key: names.get(key, f"--{key.replace('_', '-')}")


def model_option(what: str, note: str = ".", *, several: bool = False, **keywords: Any) -> Callable[[Any], Any]:
    """Return the option that names a model, or ``models`` where it may be repeated.

    :param note: goes on after what a name may be
    """
    message = f"{what}: a folder, a name that reranker-kd models lists, or a hub id{note}"
    return click.option(
        "--model", "models" if several else "model", multiple=several, metavar="NAME", help=message, **keywords
    )


def format_option(layouts: Sequence[str], note: str) -> Callable[[Any], Any]:
    """Return the option for the layout of what is printed, the first by default."""
    return click.option("--format", "output_format", type=click.Choice(layouts), default=layouts[0], help=note)


topics_options = together(
    click.option("--topics", required=True, metavar="FILE|NAME", help="Topics file, or a name that Pyserini knows."),
    click.option(
        "--topics-format",
        type=click.Choice(["tsv", "trec", "xml", "jsonl"]),
        help="Format of the topics file.  [default: detected from its content]",
    ),
)

changes_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the recipe, with dots into sections: retrieve.hits=100, training.steps=100. Repeatable.",
)

texts_options = together(
    click.option("--index", metavar="DIR|NAME", help="Lucene index that stores the texts."),
    click.option("--collection", metavar="FILE|DIR", help="Collection that holds the texts, in place of --index."),
)

model_options = options_of(ModelOptions)

run_option = click.option("--output", required=True, metavar="RUN", help="The run to write; .gz compresses it.")

qrels_option = click.option(
    "--qrels", metavar="FILE|NAME", required=True, help="Qrels: a file, or a name that Pyserini knows."
)

relevance_level_option = click.option(
    "-l",
    "--relevance-level",
    type=COUNT,
    default=1,
    help="Lowest grade that binary measures count as relevant; nDCG uses the grades.",
)

quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")
