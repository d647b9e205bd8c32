"""Outgoing mail: Amazon's Simple Email Service."""

from __future__ import annotations

import functools
from typing import Any

from murmuration.protocol.errors import Unavailable


@functools.cache
def client() -> Any:
    from murmuration.aws.clients import make_client

    return make_client("sesv2")


def send(sender: str, to: str, subject: str, text: str, html: str | None = None) -> None:
    """Send a mail. Raises Unavailable if the service refuses it."""
    from botocore.exceptions import ClientError

    body = {"Text": {"Data": text, "Charset": "UTF-8"}}
    if html is not None:
        body["Html"] = {"Data": html, "Charset": "UTF-8"}
    try:
        client().send_email(
            FromEmailAddress=sender,
            Destination={"ToAddresses": [to]},
            Content={"Simple": {"Subject": {"Data": subject, "Charset": "UTF-8"}, "Body": body}},
        )
    except ClientError as error:
        raise Unavailable("The mail can't be sent now; try again later") from error
