"""What the pages say is so: links lead somewhere, what they name exists, their examples are sound."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import typer

from oms.cli.app import app
from oms.settings import Settings, load_settings
from oms.variables import PREFIX, SETTINGS
from orchestrator.core.definition import StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.support.pages import ROOT, Block, Page, own_files, pages
from tests.system.test_examples import NOT_RUN, RUN

PAGES: Final = pages()
EXAMPLES: Final = ("library", "registrar")
"""Participants that the pages speak of as installed ones: each has a database's variable of its own name."""

BLOCKS: Final = [block for page in PAGES for block in page.blocks]
PRODUCTION: Final = next(page for page in PAGES if page.name == "docs/production.md")

_SOURCES: Final = ("*.py", "*.sh", "*.sql", "*.yaml", "*.yml", "*.toml", "*.json", "Makefile", "Dockerfile")
_SHIPPED: Final = (
    "contracts",
    "messaging",
    "orchestrator",
    "participants",
    "oms",
    "migrations",
    "simulation",
)
_VARIABLE: Final = re.compile(r"\bOMS_[A-Z0-9_]*[A-Z0-9]\b")
_FOR_DEVELOPERS: Final = re.compile(r"OMS_(TEST|BENCH)_|OMS_PICTURES|OMS_SETUP_LOCKED|OMS_X")
"""What no deployment sets: it is for working on the project."""


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


# -- links and files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Page) -> None:
    broken = [link for link in page.links if not leads_somewhere(page.name, link)]
    assert broken == []


def leads_somewhere(page: str, link: str) -> bool:
    if link.startswith(("https://", "http://", "mailto:")):
        return True
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    if not target.exists():
        return False
    return not anchor or anchor in Page(str(target.resolve().relative_to(ROOT))).anchors


def sources() -> Iterator[tuple[str, str]]:
    """Every file that is no page, with its text."""
    for name in own_files(*_SOURCES):
        yield name, (ROOT / name).read_text()


OF_THE_SITE: Final = (
    "tests/unit/tools/test_site.py",
    "tools/site/__main__.py",
    "tools/site/mkdocs.yml",
    "tools/site/pages.py",
)
"""They speak of places on the site; `make docs` checks those."""


def test_every_page_and_section_that_the_sources_cite_is_there() -> None:
    cited = re.compile(r"(?<![\w/.{}-])((?:docs/)?(?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]+))?")
    broken = [
        f"{name}: {path}#{anchor}"
        for name, text in sources()
        if name not in OF_THE_SITE
        for path, anchor in cited.findall(text)
        if path not in MADE_UP and not any(leads_somewhere(place, cite(path, anchor)) for place in PLACES)
    ]
    assert broken == []


def cite(path: str, anchor: str) -> str:
    return f"{path}#{anchor}" if anchor else path


PLACES: Final = ("README.md", "docs/broker.md")
"""Pages are cited from the root, or by their name below docs/."""

MADE_UP: Final = {"metrics.md", "saga-states.md"}
"""Names of pages below docs/generated/, in the code that writes them."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Page) -> None:
    words = [word.strip(",;:()'\"") for line in commands_and_code(page) for word in line.split()]
    named_here = {word.partition("#")[0].partition("::")[0] for word in words if is_path(word)}
    assert sorted(path for path in named_here if not list(ROOT.glob(path))) == []


def is_path(word: str) -> bool:
    """A path from the root of the project: it begins with the name of something that lies there."""
    if not re.fullmatch(r"[\w.*-]+(/[\w.*-]+)+/?|[A-Z]\w+\.md|docs/\S+", word):
        return False
    first = word.split("/")[0]
    return first in {path.name for path in ROOT.iterdir()} - {".oms", ".venv"}


def commands_and_code(page: Page) -> list[str]:
    return [*page.code, *(line for block in page.blocks for line in block.text.splitlines())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_section_is_empty(page: Page) -> None:
    parts = re.split(r"^(#+ .+)$", page.text, flags=re.MULTILINE)
    sections = list(zip(parts[1::2], parts[2::2], strict=True))
    following = [heading for heading, _ in sections[1:]]
    empty = [
        heading
        for (heading, body), after in zip(sections, [*following, "# end"], strict=True)
        if not body.strip() and depth(after) <= depth(heading)
    ]
    assert empty == []


def depth(heading: str) -> int:
    return len(heading) - len(heading.lstrip("#"))


# -- variables --------------------------------------------------------------------------------------------


def variables_of_settings() -> set[str]:
    return {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def variables_in(text: str) -> set[str]:
    return set(_VARIABLE.findall(text))


def test_every_variable_that_the_programs_read_stands_in_production() -> None:
    read = variables_of_settings() | {
        variable
        for name, text in sources()
        if name.split("/")[0] in _SHIPPED
        for variable in variables_in(text)
    }
    shown = {each for each in read if not _FOR_DEVELOPERS.match(each) and not is_secret_file(each)}
    assert sorted(shown - variables_in(PRODUCTION.text)) == []


def test_every_variable_of_the_tests_stands_in_a_page() -> None:
    read = {each for name, text in sources() if name.startswith("tests/") for each in variables_in(text)}
    told = {each for page in PAGES for each in variables_in(page.text)}
    assert sorted(each for each in read - told if each.startswith("OMS_TEST_")) == []


def test_every_variable_that_a_page_names_is_read() -> None:
    read = variables_of_settings() | {
        variable
        for name, text in sources()
        if not name.startswith(("tests/unit/", "compose.yaml", "deploy/"))
        for variable in variables_in(text)
    }
    read |= {f"OMS_{name.upper()}_DATABASE_URL" for name in EXAMPLES}
    read |= {each for block in BLOCKS if block.language == "python" for each in variables_in(block.text)}
    unread = {f"{page.name}: {each}" for page in PAGES for each in variables_in(page.text) - read}
    assert sorted(each for each in unread if not is_secret_file(each.partition(": ")[2])) == []


def is_secret_file(variable: str) -> bool:
    return variable in {f"{name}_FILE" for name in SETTINGS}


# -- commands ---------------------------------------------------------------------------------------------


def shell_lines(page: Page) -> Iterator[str]:
    """Every command line that a page shows, in a block or within a sentence."""
    for block in page.blocks:
        if block.language == "sh":
            yield from re.sub(r"\\\n\s*", " ", block.text).splitlines()
        if block.language == "text":
            yield from (line.strip()[2:] for line in block.text.splitlines() if line.strip().startswith("$ "))
    yield from page.code


def oms_commands(line: str) -> Iterator[list[str]]:
    """The words after each `oms` of a line."""
    for found in re.finditer(r"(?:^|[\s;&|]|bin/)oms ((?:[^;&|])*)", line):
        try:
            words = shlex.split(found[1], comments=True)
        except ValueError:
            words = found[1].split()
        yield words


def wrong_with(words: list[str]) -> str | None:
    """What of a command line does not exist: a command, or an option."""
    command: Any = typer.main.get_command(app)
    path: list[str] = []
    while words and hasattr(command, "commands"):
        if words[0].startswith("-") or not re.fullmatch(r"[a-z-]+", words[0]):
            break
        if words[0] not in command.commands:
            return f"oms {' '.join([*path, words[0]])}"
        path.append(words[0])
        command = command.commands[words[0]]
        words = words[1:]
    if getattr(command, "context_settings", {}).get("ignore_unknown_options"):
        return None
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    options = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)]
    return next((f"oms {' '.join([*path, option])}" for option in options if option not in known), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_shows_exists(page: Page) -> None:
    shown = [words for line in shell_lines(page) for words in oms_commands(line)]
    assert [wrong for words in shown if (wrong := wrong_with(words))] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("oms sagas show ID", None),
        ("oms sagas shwo ID", "oms sagas shwo"),
        ("FOO=1 .venv/bin/oms prune --older-than 30d --yes", None),
        ("oms prune --oldest 30d", "oms prune --oldest"),
        ("oms orders submit order.json --wait", None),
        ("oms --colour", "oms --colour"),
    ],
)
def test_a_wrong_command_would_be_noticed(line: str, wrong: str | None) -> None:
    (words,) = oms_commands(line)
    assert wrong_with(words) == wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_that_a_page_shows_exists(page: Page) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = [
        found for line in shell_lines(page) for found in re.findall(r"^(?:\S+=\S+ )*make ([a-z-]+)", line)
    ]
    assert sorted(set(shown) - targets) == []


# -- examples ---------------------------------------------------------------------------------------------


def test_every_shell_example_is_run_or_says_why_not() -> None:
    shown = {(block.page, block.begins) for block in BLOCKS if block.language == "sh"}
    assert shown == set(RUN) | set(NOT_RUN)
    assert not set(RUN) & set(NOT_RUN)


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language == "sh"], ids=named)
def test_a_shell_example_is_sound(block: Block) -> None:
    parsed = subprocess.run(["sh", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert parsed.stderr == ""


def is_a_file(block: Block) -> bool:
    """One of the files of a whole example: tests/unit/participants/test_participants_page.py runs them."""
    return block.page == "docs/participants.md" and block.text.startswith("# ")


ALONE: Final = [each for each in BLOCKS if each.language == "python" and not is_a_file(each)]


@pytest.mark.parametrize("block", ALONE, ids=named)
def test_a_python_example_runs_as_it_stands(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("an_example")  # one that is found: models look up what their annotations name
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = "from __future__ import annotations\n" + block.text
    exec(compile(source, named(block), "exec"), module.__dict__)


def test_the_definition_that_is_shown_may_run() -> None:
    (block,) = (each for each in PRODUCTION.blocks if each.language == "python")
    names: dict[str, Any] = {"__name__": "an_example"}
    exec(compile("from __future__ import annotations\n" + block.text, named(block), "exec"), names)
    shown = names["payment_first"](StepPolicy())
    assert Registry([order_fulfillment(StepPolicy()), shown]).participants
    assert [step.name for step in shown.steps[:2]] == ["charge", "reserve"]


def test_every_json_example_is_json() -> None:
    for block in BLOCKS:
        if block.language == "json":
            json.loads(block.text)


def test_blocks_are_of_languages_that_are_tried() -> None:
    assert {block.language for block in BLOCKS} <= _TRIED


_TRIED = {"sh", "python", "json", "sql", "toml", "mermaid", "text", ""}


def test_the_file_of_settings_that_is_shown_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [block for block in BLOCKS if block.language == "toml"]
    (tmp_path / "token").write_text("a-good-token")
    (tmp_path / "oms.toml").write_text(block.text.replace("/run/secrets/oms-admin", str(tmp_path / "token")))
    monkeypatch.setenv("OMS_CONFIG", str(tmp_path / "oms.toml"))
    monkeypatch.setenv("OMS_OIDC_ISSUER", "https://id.example.com")
    monkeypatch.setenv("OMS_OIDC_AUDIENCE", "oms-api")
    assert load_settings().oidc_roles.keys() == {"oms-admins", "on-call", "support"}
