"""Mail to users, from the deployment's sender."""

from __future__ import annotations

from murmuration.protocol.errors import ThreepidMediumNotSupported
from murmuration.settings import settings


def require_sender() -> str:
    """The address that mail comes from. Raises ThreepidMediumNotSupported where there is none."""
    sender = settings().mail_sender
    if not sender:
        raise ThreepidMediumNotSupported("This server sends no mail")
    return sender


def send(to: str, subject: str, text: str, html: str | None = None) -> None:
    """Send a mail: once it's handed over, or an error of the service. Raises ThreepidMediumNotSupported.

    `to` is an address as `threepids.addresses` makes them, so that no header can be smuggled in.
    """
    from murmuration.aws import mail as mails

    mails.send(require_sender(), to, subject, text, html)
