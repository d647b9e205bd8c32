"""SES: writes every mail to an .eml file in the data folder's `mail`, which any mail program can open."""

from __future__ import annotations

import time
import uuid
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

from local_cloud.aws.files import write_file
from local_cloud.aws.patch import Operation

if TYPE_CHECKING:
    from local_cloud.aws.shapes import Destination, MailMessage, Parsed, SendEmail, SendEmailV2, SendRawEmail


class Ses:
    """Both versions of the API. Nothing leaves the machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def operations(self) -> dict[str, Operation]:
        return {"SendEmail": self.send_email, "SendRawEmail": self.send_raw_email}

    def operations_v2(self) -> dict[str, Operation]:
        return {"SendEmail": self.send_email_v2}

    def send_email(self, params: SendEmail) -> Parsed:
        return self._keep(_compose(params["Source"], params["Destination"], params["Message"]))

    def send_raw_email(self, params: SendRawEmail) -> Parsed:
        return self._keep(params["RawMessage"]["Data"])

    def send_email_v2(self, params: SendEmailV2) -> Parsed:
        content = params["Content"]
        if "Raw" in content:
            return self._keep(content["Raw"]["Data"])
        return self._keep(_compose(params["FromEmailAddress"], params["Destination"], content["Simple"]))

    def _keep(self, mail: bytes) -> Parsed:
        message_id = str(uuid.uuid4())
        write_file(self._folder / f"{time.time_ns()}-{message_id}.eml", mail)
        return {"MessageId": message_id}


def _compose(source: str, destination: Destination, message: MailMessage) -> bytes:
    mail = EmailMessage()
    mail["From"] = source
    mail["Subject"] = message["Subject"]["Data"]
    if addresses := destination.get("ToAddresses"):
        mail["To"] = ", ".join(addresses)
    if addresses := destination.get("CcAddresses"):
        mail["Cc"] = ", ".join(addresses)
    body = message["Body"]
    mail.set_content(body.get("Text", {}).get("Data", ""))
    if "Html" in body:
        mail.add_alternative(body["Html"]["Data"], subtype="html")
    return mail.as_bytes()
