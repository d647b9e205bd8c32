"""The pages for operators: each alarm has its section, and tests that a page names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.infra.conftest import Synthesised

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
RUNBOOK = Path("docs/runbook.md")
DIFFERENCES = Path("docs/aws_differences.md")


def test_the_runbook_has_each_alarm(stack: Synthesised) -> None:
    sections = re.findall(r"^## (\S+)$", RUNBOOK.read_text(), re.MULTILINE)
    prefix = "murmuration-prod-"
    alarms = [found["AlarmName"].removeprefix(prefix) for found in stack.properties("AWS::CloudWatch::Alarm")]
    wanted = {re.sub(r"^workers-.*-behind$", "workers-behind", name) for name in alarms}
    assert wanted | {"budget"} == set(sections)


def test_the_tests_that_the_page_names_are_there() -> None:
    text = DIFFERENCES.read_text()
    named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", text)
    assert len(named) > 10
    for file, test in named:
        found = [path.read_text() for path in Path("tests").rglob(file)]
        assert found, f"there is no {file}"
        assert not test or any(f"def {test}(" in text for text in found), f"{file} has no {test}"


def test_each_difference_has_its_source() -> None:
    rows = re.findall(r"^\| (?!what|---)(.*) \|$", DIFFERENCES.read_text(), re.MULTILINE)
    assert len(rows) > 30
    for row in rows:
        does, means, imitated, read = row.split(" | ")
        assert "](https://docs.aws.amazon.com/" in does, f"there is no source: {does}"
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", read), f"it isn't said when it was read: {does}"
        assert means
        assert "`" in imitated or imitated.startswith(("no", "the")), f"no test is named: {does}"


GLOBAL_OPTIONS = {"region", "query", "output", "profile", "max-items"}
BY_HAND = {("s3", "sync"), ("s3", "rb")}
"""What the command line of AWS has besides the services' operations."""
RENAMED = {("sns", "subscribe"): {"notification-endpoint"}}
"""Options that it calls otherwise than the services do."""


def commands() -> dict[str, tuple[str, str, set[str]]]:
    """Return the AWS CLI commands in the pages for operators, with service, operation and options."""
    found = {}
    places = [*Path("docs").glob("*.md"), *Path("operators").rglob("*.py")]
    for place in places:
        text = place.read_text().replace('"\n    f" ', " ").replace('"\n    " ', " ")
        for command in re.findall(r"\baws [a-z0-9-]+ [a-z0-9-]+(?:\$\([^)]*\)|`[^`\n]*`\)\]|[^`\n)])*", text):
            _, service, operation = command.split()[:3]
            if service == "import":  # a line of Python's
                continue
            found[command] = (service, operation, set(re.findall(r" --([a-z0-9-]+)", command)))
    return found


def test_aws_has_the_commands_that_operators_are_told_of() -> None:
    from botocore import xform_name
    from botocore.session import Session

    session = Session()
    checked = 0
    for command, (service, operation, options) in commands().items():
        if (service, operation) in BY_HAND:
            continue
        model = session.get_service_model("s3" if service == "s3api" else service)
        names = {xform_name(name, "-"): name for name in model.operation_names}
        assert operation in names, f"{service} has no such operation: {command}"
        shape = model.operation_model(names[operation]).input_shape
        known = {xform_name(name, "-"): member for name, member in (shape.members if shape else {}).items()}
        known |= {f"no-{name}": member for name, member in known.items() if member.type_name == "boolean"}
        known_options = known.keys() | GLOBAL_OPTIONS | RENAMED.get((service, operation), set())
        assert options <= known_options, f"there is no such option: {command}"
        if options:
            needed = {xform_name(name, "-") for name in shape.required_members}
            assert needed <= {option.removeprefix("no-") for option in options}, (
                f"an option is missing: {command}"
            )
        checked += 1
    assert checked > 20
