"""docs/limits.md says of every endpoint what bounds its answer."""

from __future__ import annotations

import re

from infra_shared.grants import GRANTS
from infra_shared.grants.grant import ANSWERS
from murmuration.endpoint import Http, discover
from tests.house import REPOSITORY

TEXT = (REPOSITORY / "docs" / "limits.md").read_text()
NAME = re.compile(r"`((?:client_server|client_v1|client_v2|server_server|websocket)/[\w/]+)`")


def endpoints() -> set[str]:
    """Return each function that answers HTTP requests, as the path of its file."""
    return {
        f"{function.group.replace('.', '/')}/{function.name.rpartition('-')[2]}"
        for function in discover()
        if isinstance(function.route, Http)
    }


def test_every_endpoint_is_in_the_table_once() -> None:
    named = NAME.findall(TEXT)
    assert sorted(named) == sorted({*endpoints(), "websocket/default"})


def test_who_may_redirect_is_granted_the_bucket() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    assert rows
    redirecting = {
        name.rpartition("/")[0].replace("/", ".")
        for row in rows
        if "redirect" in row.rpartition("|")[0].rpartition("|")[2]
        for name in NAME.findall(row)
    }
    granted = {module for module, grant in GRANTS.items() if ANSWERS.items() <= grant.objects.items()}
    assert redirecting <= granted
