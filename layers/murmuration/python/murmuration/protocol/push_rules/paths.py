"""Requests for push rules whose path no endpoint has."""

from __future__ import annotations

import re

from murmuration.protocol.errors import MalformedPath

_PATH = re.compile(r"/_matrix/client/(r0|v3)/pushrules(/|$)")
_METHODS = ("GET", "PUT", "DELETE")


def check_path(method: str, path: str) -> None:
    """Raise MalformedPath if a request that no endpoint serves was meant for a push rule.

    Its path lacks the scope, kind or ID of a rule, or has an unknown scope or attribute. Synapse answers 400,
    which clients expect; other unknown paths are 404.
    """
    if method in _METHODS and _PATH.match(path):
        raise MalformedPath("A push rule has a path of the form /pushrules/global/{kind}/{ruleId}")
