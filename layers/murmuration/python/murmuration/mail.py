"""Mails to users, from the deployment's address."""

from __future__ import annotations

from murmuration.protocol.errors import ThreepidMediumNotSupported
from murmuration.settings import settings


def require_sender() -> str:
    """Return the address that mails are sent from. Raises ThreepidMediumNotSupported if there is none."""
    sender = settings().mail_sender
    if not sender:
        raise ThreepidMediumNotSupported("This server sends no mail")
    return sender


def send(to: str, subject: str, text: str, html: str | None = None) -> None:
    """Send a mail. Raises ThreepidMediumNotSupported, and Unavailable if the service refuses it.

    `to` must be an address made by `threepids.addresses`, so that it can't contain a header.
    """
    from murmuration.aws import mail as mails

    mails.send(require_sender(), to, subject, text, html)
