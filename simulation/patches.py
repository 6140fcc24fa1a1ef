"""Parts of the running code exchanged for a while: how probes look on and how mutations take a rule away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Patch:
    """An attribute of a module or class, and what stands there instead, made from what stood there."""

    owner: Any
    name: str
    instead: Callable[[Any], Any]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this block the patch stands."""
        before = self.owner.__dict__[self.name]
        setattr(self.owner, self.name, self.instead(before))
        try:
            yield
        finally:
            setattr(self.owner, self.name, before)


@contextmanager
def applied(patches: Iterable[Patch]) -> Iterator[None]:
    """Within this block all of the patches stand."""
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch.applied())
        yield
