"""Each command in the pages, the Makefile and the operators' messages exists.

A command in a block, or with arguments, must be one that its parser takes. One that is only mentioned, such
as `murmuration restore`, must be there.
"""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra_cdk.rehearsal.cloud import CDK
from infra_cdk.settings import Settings, read_settings
from operators.cli import parser
from operators.costs.lives import LIVES

PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), Path("CHANGELOG.md"), *sorted(Path("docs").glob("*.md"))]
MESSAGES = [*Path("operators").rglob("*.py"), *Path("layers/murmuration/python/murmuration").rglob("*.py")]
MAKEFILE = Path("Makefile").read_text()
EXAMPLES = {"TIME": "2026-11-20T12:00:00Z", "ROOM": "!room:example.org", "FILE": "events.json"}
"""What stands for the words in capitals that a parser looks into."""


def spans(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of code in a page, and whether each is a line of a block."""
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            yield from ((part.strip(), True) for part in line.partition(" #")[0].split("&&"))
    for span in re.findall(
        r"`([^`]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    ):
        yield " ".join(span.partition(" #")[0].split()), False


def documented(command: str) -> list[tuple[str, str, bool]]:
    """Return the uses of a command: the file, what follows the command's name, and whether it is in
    a block.
    """
    found = []
    for page in PAGES:
        for span, is_block in spans(page.read_text()):
            if match := re.match(rf"(?:time )?(?:\.venv/bin/)?{command}(?: (.*))?$", span):
                found.append((page.name, match[1] or "", is_block))
    return found


def messages() -> list[tuple[str, str, bool]]:
    """Return the commands of `murmuration` that messages and docstrings name; what is filled in is an `x`."""
    return [
        (path.name, re.sub(r"\{[^}]*\}", "x", " ".join(found.split())), False)
        for path in MESSAGES
        for found in re.findall(r"`murmuration ([^`]+)`", path.read_text())
    ]


def choices_of(found: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices) if actions else {}


def check(words: list[str], *, whole: bool) -> None:
    """Raise AssertionError or SystemExit for a command that doesn't exist."""
    at, rest = parser(), list(words)
    while (choices := choices_of(at)) and rest and not rest[0].startswith("-"):
        assert rest[0] in choices, f"there is no {rest[0]}"
        at = choices[rest.pop(0)]
    if rest[-1:] != ["--help"] and (whole or rest):
        parser().parse_args(words)


def alternatives(text: str) -> Iterator[list[str]]:
    """Yield the commands that `list|reset` stands for."""
    words = [EXAMPLES.get(word, word) for word in shlex.split(text)]
    several = next((word for word in words if "|" in word), None)
    for one in several.split("|") if several else [""]:
        yield [one if word == several else word for word in words]


@pytest.mark.parametrize(("place", "text", "is_block"), documented("murmuration") + messages())
def test_murmuration_takes_the_command(place: str, text: str, is_block: bool) -> None:
    for words in alternatives(text):
        check(words, whole=is_block)


def test_who_has_a_deployment_is_told_its_prefix() -> None:
    """Without the prefix a command looks for a local server's data folder."""
    for place, text, _ in documented("murmuration"):
        command, *rest = text.split() or [""]
        if place in ("deploying.md", "runbook.md") and rest and command != "restore":
            assert "--prefix" in rest, f"{place}: murmuration {text}"


def test_there_are_commands_to_check() -> None:
    assert len(documented("murmuration")) > 40
    assert len(documented("make")) > 40
    assert len(documented("npx cdk")) > 10
    assert len(messages()) > 3


@pytest.mark.parametrize("words", [["kyes"], ["keys", "fetsch"], ["restore", "--at"], ["users", "create"]])
def test_a_command_that_is_not_there_is_found(words: list[str]) -> None:
    with pytest.raises((AssertionError, SystemExit)):
        check(words, whole=True)


# -- make ------------------------------------------------------------------------------------------------


def recipe(target: str) -> str:
    """Return the lines of a target in the Makefile."""
    match = re.search(rf"^{re.escape(target)}:(?!=).*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    assert match, f"make has no {target}"
    return match[1]


def given_to_make() -> list[tuple[str, str]]:
    """Return the targets with the arguments that pages and the Makefile's own help name."""
    helped = re.findall(r"^([a-z-]+):.*?## .*?ARGS='([^']*)'", MAKEFILE, re.MULTILINE)
    pages = [re.match(r"(\S+) ARGS='([^']*)'$", text) for _, text, _ in documented("make")]
    return helped + [(match[1], match[2]) for match in pages if match]


@pytest.mark.parametrize(("place", "text", "_"), documented("make"))
def test_make_has_the_target(place: str, text: str, _: bool) -> None:
    if not text:  # make itself is meant
        return
    target, *variables = shlex.split(re.sub(r"<[^>]*>", "x", text))
    recipe(target)
    for variable in variables:
        name = variable.partition("=")[0]
        assert re.search(rf"^{name} \?=", MAKEFILE, re.MULTILINE), f"the Makefile has no {name}"
        if name == "TESTS":
            for path in variable.partition("=")[2].split():
                assert Path(path).exists(), path


class Parsed(Exception):
    """The arguments were taken; what the command does with them isn't tried."""


@pytest.mark.parametrize(("target", "given"), given_to_make())
def test_what_is_given_to_make_is_taken(monkeypatch: pytest.MonkeyPatch, target: str, given: str) -> None:
    words = [EXAMPLES.get(word, word) for word in given.replace("…", "").split()]
    command = re.search(r"\$\(BIN\)/(murmuration|python -m) ([\w.]+)[^\n]*\$\(ARGS\)", recipe(target))
    assert command, f"make {target} hands no ARGS on"
    if command[1] == "murmuration":
        parser().parse_args([command[2], *words])
        return
    if target == "bill":  # which takes nothing but these
        assert set(words) <= LIVES.keys()
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        parse(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", [command[2], *words])
    with pytest.raises(Parsed):
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)


# -- cdk and its settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "text", "_"), documented("npx cdk"))
def test_cdk_is_given_settings_that_there_are(place: str, text: str, _: bool) -> None:
    command, *words = shlex.split(text)
    assert command in ("bootstrap", "deploy", "destroy", "diff")
    given = {"server_name": "example.org"}
    while words:
        option = words.pop(0)
        if option == "-c":
            name, _equals, value = words.pop(0).partition("=")
            given[name] = value
        elif CDK.exists():
            assert f'"{option.removeprefix("--")}"' in known_to_cdk(), f"the CDK has no {option}"
    read_settings(given)


def test_cdks_commands_work_where_they_stand() -> None:
    """The CDK runs our Python code to synthesise, for `bootstrap` too. This needs the virtual environment and
    a server name: each command of a block has one, or the settings do.
    """
    for page in ("deploying.md", "aws_differences.md"):
        text = (Path("docs") / page).read_text()
        lines = [span for span, is_block in spans(text) if is_block]
        first = next(place for place, line in enumerate(lines) if "npx cdk" in line)
        assert "source .venv/bin/activate" in lines[:first], page
        for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
            used = [line for line in block.splitlines() if "npx cdk" in line]
            assert len({"server_name=" in line for line in used}) <= 1, block


def known_to_cdk() -> str:
    """Return the text of the CDK's command line, which has the names of its options."""
    return (CDK.resolve().parent.parent / "lib" / "index.js").read_text()


NO_SETTINGS = {
    "id",
    "name",
    "issuer",
    "client_id",
    "m.homeserver",
    "m.server",
    "base_url",
    "type",
    "livekit_service_url",
}
"""What else has quotation marks in the page: parts of a setting's value, and of the well-known files."""


def test_the_settings_that_the_pages_name_are_there() -> None:
    named = {
        name
        for page in ("deploying.md", "runbook.md")
        for span, _ in spans((Path("docs") / page).read_text())
        for name in re.findall(r'"([a-z_.]+)":', span)
    }
    assert len(named) > 10
    assert named - NO_SETTINGS <= Settings.model_fields.keys()
