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
    wanted = {"workers-behind" if name.endswith("-behind") else name for name in alarms}
    assert wanted | {"budget"} <= set(sections)


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
    assert len(rows) > 12
    without = [row for row in rows if "https://docs.aws.amazon.com/" not in row]
    assert len(without) <= 2, (
        "SQS's refusal and the account's concurrency have their source in the row before"
    )
