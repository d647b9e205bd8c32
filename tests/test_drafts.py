"""docs/drafts.md names all endpoints of the drafts, and only those."""

from __future__ import annotations

import re

from murmuration.endpoint import discover, http_routes
from tests.fixtures_stage import ROOT
from tests.house import REPOSITORY
from tests.test_house_rules import DRAFTS

ROW = re.compile(r"^\| [^|]+ \| `([A-Z]+) (/[^`]+)` \| `([^`]+)` \| ((?:`[^`]+`(?:, )?)+) \|$", re.MULTILINE)
PAGE = (REPOSITORY / "docs/drafts.md").read_text()


def rows() -> dict[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """Return the function and the tests by route."""
    return {
        (method, path): (function, tuple(re.findall(r"`([^`]+)`", tests)))
        for method, path, function, tests in ROW.findall(PAGE)
    }


def test_each_row_names_a_route_of_that_function_and_every_route_has_a_row() -> None:
    served = {
        (method, path): function.module.removeprefix("functions.").replace(".", "/")
        for method, path, function in http_routes(discover())
        if path.startswith(DRAFTS)
    }
    assert {route: function for route, (function, _) in rows().items()} == served


def test_each_row_names_tests_and_its_function_has_fixtures() -> None:
    missing = []
    for function, tests in rows().values():
        missing += [test for test in tests if not (REPOSITORY / test).is_file()]
        if not any((ROOT / function).glob("*.expected.json")):
            missing.append(f"{function} has no fixture")
    assert not missing


def test_each_route_has_one_row() -> None:
    routes = [(method, path) for method, path, _, _ in ROW.findall(PAGE)]
    assert len(routes) == len(set(routes))


def test_the_code_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:protocol|presence|rooms|client_v[12])/(?:\w+\.py)?)`", PAGE)
    package = REPOSITORY / "layers/murmuration/python/murmuration"
    assert named
    assert [name for name in named if not (package / name).exists()] == []
