"""Registries: entries by name, our own and those that installed packages add by entry points."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from reranker_kd.errors import InputError

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name. What an installed package adds under the group is found at each look-up.

    :param what: what an entry is called in messages, such as ``loss``
    :param group: the entry-point group, such as ``reranker_kd.losses``
    :param own: this package's entries; a string ``module:attribute`` is imported when the entry is asked for
    """

    def __init__(self, what: str, group: str, own: Mapping[str, Entry | str]) -> None:
        self.what = what
        self.group = group
        self._own = dict(own)

    def __getitem__(self, name: str) -> Entry:
        """Return an entry.

        :raises InputError: no such entry, or the package that adds it does not load
        """
        if name in self._own:
            entry = self._own[name]
            if not isinstance(entry, str):
                return entry
            module, _, attribute = entry.partition(":")
            return cast(Entry, getattr(import_module(module), attribute))
        for point in self.added():
            if point.name == name:
                try:
                    return cast(Entry, point.load())
                except Exception as error:
                    raise InputError(
                        f"{self.what} {name}: the package that adds it ({point.value}) does not load: {error}"
                    ) from error
        raise InputError(f"no {self.what} {name!r}; known: {', '.join(self)}")

    def added(self) -> Collection[EntryPoint]:
        """Return the entry points of installed packages."""
        return entry_points(group=self.group)

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._own, *(point.name for point in self.added())]))

    def __len__(self) -> int:
        return sum(1 for _ in self)
