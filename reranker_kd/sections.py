"""Sections of settings, as recipes, options and keywords give them: what goes with what, faults in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from reranker_kd.errors import InputError

Spelling = Callable[[str], str]
"""How a key is written where it was given: as it is in a recipe, ``--with-dashes`` on the command line."""


@dataclass(frozen=True, slots=True)
class GoesWith:
    """Of a setting that has no effect without another one; stands in the annotation of its field.

    :param key: the other setting
    :param values: what the other has to be, one of these; without any, it has to be given at all
    """

    key: str
    values: tuple[str, ...] = ()

    def fault(self, key: str, settings: Mapping[str, Any], spelled: Spelling = str) -> str | None:
        """Return what is wrong with the settings, of which ``key`` is given; None where nothing is."""
        other = settings.get(self.key)
        if other in self.values if self.values else _is_given(other):
            return None
        partner = " ".join([spelled(self.key), " or ".join(self.values)]).strip()
        return f"{spelled(key)} goes with {partner}: give both, or leave {spelled(key)} out"


@dataclass(frozen=True, slots=True)
class NotWith:
    """Of a setting that has no effect beside another one; ``key`` is the other."""

    key: str

    def fault(self, key: str, settings: Mapping[str, Any], spelled: Spelling = str) -> str | None:
        """Return what is wrong with the settings; see :meth:`GoesWith.fault`."""
        if not _is_given(settings.get(self.key)):
            return None
        return f"{spelled(key)} has no effect beside {spelled(self.key)}: leave out one of the two"


Partner = GoesWith | NotWith


class Section(BaseModel):
    """Settings that belong together. Keys that it does not know, and keys without their partner, are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _partners_are_there(self) -> Section:
        # A record of all settings gives the defaults too: they are no fault.
        for key in self.changed():
            for partner in type(self).model_fields[key].metadata:
                if isinstance(partner, Partner) and (fault := partner.fault(key, self.__dict__)):
                    raise ValueError(fault)
        return self

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults."""
        defaults = {key: field.get_default(call_default_factory=True) for key, field in type(self).model_fields.items()}
        return {key: value for key, value in self.__dict__.items() if value != defaults[key]}


Kind = TypeVar("Kind", bound=BaseModel)


def checked(kind: type[Kind], settings: Mapping[str, Any], spelled: Spelling = str) -> Kind:
    """Return the section that these settings make.

    :raises InputError: an unknown key, a wrong value, or a key without its partner
    """
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise InputError(first_fault(error, spelled)) from None


def first_fault(error: ValidationError, spelled: Spelling = str) -> str:
    """Return the first fault of a validation in one line: its key, what is wrong, and how many more there are."""
    first, *more = error.errors()
    key = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "is not a key that is known here; check its spelling"
    if more:
        message += f" (and {len(more)} more faults)"
    return f"{spelled(key)}: {message}" if key else message


def _is_given(value: Any) -> bool:
    # 0 is a value like any other.
    return value is not None and value is not False and value != () and value != {}
