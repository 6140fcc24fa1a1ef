"""What other distributions add: sagas, participants, gateways, carriers, found by their entry points.

Nothing of an extension is imported before it is used. One that is switched off is not there, and one that
cannot be loaded stops the start with a line that names its distribution.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, distributions
from itertools import pairwise
from typing import Any, Final

from contracts.one_line import kind_and_line
from oms.failures import Failure

SAGAS: Final = "oms.sagas"
"""Each gives a saga definition, or a function of the step policy that returns one."""

KIT_PARTICIPANTS: Final = "oms.participants"
"""Each gives a `Participant`; the entry point has its name."""

GATEWAYS: Final = "oms.payment_gateways"
CARRIERS: Final = "oms.carriers"
"""Each gives what makes a client of a provider; `OMS_PAYMENT_GATEWAY` and `OMS_CARRIER` name it."""

GROUPS: Final = (SAGAS, KIT_PARTICIPANTS, GATEWAYS, CARRIERS)

OFF_VARIABLE: Final = "OMS_EXTENSIONS_OFF"


class NotInstalled(Failure):
    """There is no extension of the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One entry point of a distribution."""

    group: str
    name: str
    distribution: str
    version: str
    entry: EntryPoint

    @property
    def described(self) -> str:
        """Whose it is, for a message."""
        return f"{self.distribution} {self.version} ({self.group}: {self.name} = {self.entry.value})"


def normalised(distribution: str) -> str:
    """A distribution's name in the form in which two spellings of it are equal."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@cache
def everything_installed() -> tuple[Extension, ...]:
    """Every entry point in one of our groups, sorted, whether switched off or not. Imports nothing."""
    return tuple(sorted(_found(), key=lambda each: (each.group, each.distribution, each.name)))


def _found() -> Iterator[Extension]:
    seen: set[str] = set()  # a distribution may stand on the path twice: the first one counts
    for distribution in distributions():
        name = normalised(distribution.metadata["Name"] or "")
        if name in seen:
            continue
        seen.add(name)
        for entry in distribution.entry_points:
            if entry.group in GROUPS:
                yield Extension(entry.group, entry.name, name, distribution.version, entry)


def installed(group: str, off: Collection[str]) -> tuple[Extension, ...]:
    """The extensions of a group that are not switched off.

    Raises:
        Failure: a name is there twice.
    """
    found = [each for each in everything_installed() if each.group == group and each.distribution not in off]
    for one, other in pairwise(sorted(found, key=lambda each: each.name)):
        if one.name == other.name:
            both = f"{one.distribution} and {other.distribution}"
            raise Failure(f"{group} {one.name!r} is given by two distributions, {both}: switch one off")
    return tuple(found)


def check_off(off: Collection[str]) -> None:
    """Raises Failure where a name that is to be switched off is nobody's."""
    known = {each.distribution for each in everything_installed()}
    for name in off:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise Failure(f"{OFF_VARIABLE}: {name!r} extends nothing here; installed are: {there}")


def load(extension: Extension) -> Any:
    """What the entry point names. It is somebody's code: it may do anything when imported.

    Raises:
        Failure: it cannot be loaded; one line says whose it is, and why.
    """
    try:
        return extension.entry.load()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise failure(extension, f"cannot be loaded: {kind_and_line(error)}") from None


def failure(extension: Extension, reason: str) -> Failure:
    """A failure that says which distribution is at fault, and what its user can do."""
    return Failure(f"{extension.described} {reason}; {OFF_VARIABLE}={extension.distribution} switches it off")


def settings_of(variable: str) -> bool:
    """Whether a variable may be one of an installed extension: it begins with the extension's name."""
    names = (f"OMS_{re.sub('[-.]', '_', each.name).upper()}_" for each in everything_installed())
    return any(variable.upper().startswith(name) for name in names)


def made_by(group: str, name: str, off: Collection[str]) -> tuple[Extension, Callable[..., Any]]:
    """The function that an extension of this name gives.

    Raises:
        NotInstalled: there is none of this name.
        Failure: it cannot be loaded.
    """
    found = {each.name: each for each in installed(group, off)}
    if name not in found:
        raise NotInstalled(f"there is no {name!r} in {group}; installed are: {', '.join(found) or 'none'}")
    given = load(found[name])
    if not callable(given):
        raise failure(found[name], f"is {type(given).__name__}, not a function")
    return found[name], given
