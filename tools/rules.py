"""Writes beneath each rule of ``docs/rules.md`` the tests and mutants that hold it: `python -m tools.rules`.

A test holds the rules that its name begins with (``test_s10_d4_...``), a class or module of tests those
that its docstring cites in its first line. A mutant takes away the rule that its own name begins with.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from simulation.mutations.catalogue import MUTATIONS

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = Path("docs/rules.md")

RULE: Final = re.compile(r"\b[SPMD][1-9]\d?\b")
"""A citation of a rule, wherever it stands."""

NO_MUTANT: Final = "- no mutant: "
"""How a rule says why nothing can be taken away; written by hand."""

_HEADING: Final = re.compile(r"### (\S+)")
_PROOFS: Final = ("- tests: ", "- mutants: ")
_NAMED: Final = re.compile(r"test_((?:[spmd]\d+_)+)")

Proofs = Mapping[str, list[str]]


def held_by_tests(root: Path) -> Proofs:
    """The files of tests that hold each rule, as links from the page, with how many tests name it."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for path in sorted((root / "tests").rglob("test_*.py")):
        for rule in _held_by(ast.parse(path.read_text(encoding="utf-8"))):
            counts[rule][path.relative_to(root).as_posix()] += 1
    return {rule: [_link(name) for name in files] for rule, files in counts.items()}


def _held_by(module: ast.Module) -> Iterator[str]:
    yield from _cited(module)
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield from _cited(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named = _NAMED.match(node.name)
            yield from named.group(1).upper().split("_")[:-1] if named else ()


def _cited(node: ast.Module | ast.ClassDef) -> list[str]:
    return RULE.findall((ast.get_docstring(node) or "").partition("\n")[0])


def _link(name: str) -> str:
    return f"[{Path(name).stem.removeprefix('test_')}](../{name})"


def held_by_mutants() -> Proofs:
    """The mutants that take each rule away, in words."""
    found: dict[str, list[str]] = defaultdict(list)
    for mutation in MUTATIONS:
        rule, _, name = mutation.rule.partition(" ")
        found[rule].append(name)
    return found


def sections(page: str) -> Iterator[tuple[str, list[str]]]:
    """Each rule of the page with its lines, and the text between as rules of no name."""
    name, lines = "", list[str]()
    for line in page.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading or line.startswith("## "):
            yield name, lines
            name, lines = (heading.group(1) if heading else ""), []
        lines.append(line)
    yield name, lines


def rewritten(page: str, tests: Proofs, mutants: Proofs) -> str:
    """The page with its proofs as they are now."""
    text = []
    for name, lines in sections(page):
        kept = [line for line in lines if not line.startswith(_PROOFS)]
        if name:
            while not kept[-1]:
                kept.pop()
            shown = zip(_PROOFS, (tests, mutants), strict=True)
            proofs = [f"{title}{', '.join(proof[name])}" for title, proof in shown if name in proof]
            kept += ["", *proofs, ""] if not kept[-1].startswith(NO_MUTANT) else [*proofs, ""]
        text += kept
    return "\n".join(text).rstrip("\n") + "\n"


def write_page(root: Path) -> Path:
    """Write the page anew; returns its path."""
    path = root / PAGE
    page = path.read_text(encoding="utf-8")
    path.write_text(rewritten(page, held_by_tests(root), held_by_mutants()), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write_page(ROOT).relative_to(ROOT))
