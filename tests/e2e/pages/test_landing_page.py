"""The page at `/` in a real browser, on a screen as wide as a phone's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_cloud.testing import LocalCloud
from tests.e2e.pages.chrome import Chrome, chrome

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chrome() as started:
        yield started


@pytest.mark.parametrize("width", [360, 1200])
def test_it_shows_the_server_a_code_and_links_and_loads_nothing(
    shared_cloud: LocalCloud, browser: Chrome, width: int
) -> None:
    browser.driver.set_window_size(width, 800)
    browser.open(f"{shared_cloud.url}/")
    assert shared_cloud.server_name in browser.text()
    code = browser.element(".code svg").size
    assert code["width"] == code["height"] >= 200
    assert browser.run("return getComputedStyle(document.querySelector('.code svg')).backgroundColor") == (
        "rgb(255, 255, 255)"
    ), "the style sheet is allowed"
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth"), (
        "nothing sticks out"
    )
    for app in ("Element X", "Cinny", "Element"):
        link = browser.shows(app)
        assert link is not None
        assert str(link.get_attribute("href")).startswith("https://")
    assert browser.run("return performance.getEntriesByType('resource').map(each => each.name)") == []
    assert browser.run("return document.scripts.length") == 0
    assert browser.complaints() == []
