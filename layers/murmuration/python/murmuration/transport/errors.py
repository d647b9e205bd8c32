"""Errors of requests to other servers. No message contains a secret."""

from __future__ import annotations


class TransportError(Exception):
    """The other server wasn't reached, or gave no valid answer."""


class TimedOut(TransportError):
    """The time limit of the request was over before the answer was complete."""


class NotConnected(TransportError):
    """No connection was made, so nothing of the request was sent."""


class AddressRefused(NotConnected):
    """The name has only addresses that may not be connected to, such as private ones."""


class AnswerTooLarge(TransportError):
    """The answer has more bytes than the caller accepts."""
