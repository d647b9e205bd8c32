"""Decides which API has a path. CloudFront chooses one by these patterns.

The number of paths in an API is limited (`infra_cdk.parts.api`). The patterns are CloudFront's: `*` stands
for any characters, including `/`. The first pattern that matches is used, both here and in CloudFront.
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

Part = Literal["", "Drafts", "Federation", "Keys", "Media", "Rooms"]
"""The APIs of the founding drafts, other servers, keys, media and rooms, and the one for all other paths."""

PATTERNS: tuple[tuple[str, Part], ...] = (
    ("/_matrix/federation/*", "Federation"),
    ("/_matrix/key/*", "Federation"),
    ("/_matrix/client/api/*", "Drafts"),
    ("/_matrix/client/v2/*", "Drafts"),
    ("/_matrix/media/*", "Media"),
    # The paths to which the viewer function rewrites large uploads below /_matrix/media: they keep that
    # path's origin.
    ("/uploads*", "Media"),
    ("/_matrix/client/*/media/*", "Media"),
    ("/_matrix/client/*/rooms/*", "Rooms"),
    ("/_matrix/client/*/keys/*", "Keys"),
    ("/_matrix/client/*/room_keys/*", "Keys"),
)
PARTS: tuple[Part, ...] = ("", "Drafts", "Federation", "Keys", "Media", "Rooms")


def part_of(path: str) -> Part:
    """Return the API that has a path. The path may be a route's, with its parameters in braces."""
    return next((part for pattern, part in PATTERNS if fnmatchcase(path, pattern)), "")
