"""Errors of requests to other servers. No message holds a secret."""

from __future__ import annotations


class TransportError(Exception):
    """The other server wasn't reached, or didn't answer as it should."""


class TimedOut(TransportError):
    """The time for the request was over before the answer was there."""


class NotConnected(TransportError):
    """No connection was made, so nothing of the request was sent."""


class AddressRefused(NotConnected):
    """The name has only addresses that may not be asked, such as private ones."""


class AnswerTooLarge(TransportError):
    """The answer has more bytes than the caller takes."""
