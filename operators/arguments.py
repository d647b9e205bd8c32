"""Numbers and URLs on the command line, each refused in a sentence that says what to write instead."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit

MOST_DAYS = 36_500


def whole_number(text: str) -> int:
    """Return a number of things, at least one. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 on")
    return int(text)


def number(text: str) -> float:
    """Return a number that isn't negative. Raises ArgumentTypeError."""
    found = _parsed(text)
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError("it can't be negative or infinite")
    return found


def days(text: str) -> float:
    """Return a number of days to come, half a day for instance. Raises ArgumentTypeError."""
    found = _parsed(text)
    if not 0 < found <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text} is no number of days: more than 0, up to {MOST_DAYS:,}")
    return found


def _parsed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number, such as 2 or 0.5") from None


def web_url(text: str) -> str:
    """Return the URL of a server. Raises ArgumentTypeError."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise argparse.ArgumentTypeError(f"{text} is no URL such as https://matrix.example.org")
    return text
