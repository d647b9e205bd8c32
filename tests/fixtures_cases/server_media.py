"""Other servers' requests to the content repository.

https://spec.matrix.org/v1.19/server-server-api/#content-repository
"""

from __future__ import annotations

from dataclasses import replace

from tests.fixtures_cases import Cases
from tests.fixtures_plots_federation import OTHER

CASES = Cases("server_server/media", "alice_with_media", "another_server")

BASE = "GET /_matrix/federation/v1/media"
SIZE = "width=32&height=32&method=crop"

CASES.add(
    "get_content/good",
    "The picture in two parts, of which the first says nothing.",
    f"{BASE}/download/{{{{picture}}}}",
    server=OTHER,
)
CASES.add(
    "get_content/unknown", "There are no such media.", f"{BASE}/download/nothing", server=OTHER,
    expect="404 M_NOT_FOUND",
)  # fmt: skip
CASES.add(
    "get_content/pending",
    "Not uploaded yet.",
    f"{BASE}/download/{{{{pending_media}}}}?timeout_ms=0",
    server=OTHER,
    expect="504 M_NOT_YET_UPLOADED",
)
CASES.add(
    "get_content/unsigned", "Nobody's.", f"{BASE}/download/{{{{picture}}}}", expect="401 M_UNAUTHORIZED"
)
CASES.add(
    "get_content_thumbnail/good",
    "A thumbnail, made now and kept.",
    f"{BASE}/thumbnail/{{{{picture}}}}?{SIZE}",
    server=OTHER,
    vague=True,
)
CASES.add(
    "get_content_thumbnail/missing_size",
    "How large?",
    f"{BASE}/thumbnail/{{{{picture}}}}",
    server=OTHER,
    expect="400 M_MISSING_PARAM",
)
CASES[:] = [replace(case, settings={"federation": "on"}) for case in CASES]
