"""Mail, as Amazon's service takes it."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from murmuration.aws import clients as aws
from murmuration.aws import mail as mails
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.identifiers import UserId


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        for accessor in (aws.session, mails.client):
            accessor.cache_clear()
        yield boto3.client("sesv2")
    for accessor in (aws.session, mails.client):
        accessor.cache_clear()


def test_a_mail_has_all_its_parts(service) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.ses.models import ses_backends

    service.create_email_identity(EmailIdentity="server@example.org")
    mails.send(UserId("server@example.org"), "alice@mail.example", "Grüße", "plain ✉", "<p>rich</p>")
    (sent,) = ses_backends[DEFAULT_ACCOUNT_ID]["eu-central-1"].sent_messages
    assert (sent.source, sent.destinations["ToAddresses"]) == ("server@example.org", ["alice@mail.example"])
    assert sent.subject == "Grüße"


def test_a_sender_who_is_not_verified(service) -> None:
    with pytest.raises(Unavailable):
        mails.send(UserId("stranger@example.org"), "alice@mail.example", "x", "y")
