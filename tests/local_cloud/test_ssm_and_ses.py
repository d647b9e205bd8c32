from __future__ import annotations

import email
import email.policy

import pytest


def test_parameters(make_client):
    ssm = make_client("ssm")
    ssm.put_parameter(Name="/app/one", Value="1", Type="SecureString")
    ssm.put_parameter(Name="/app/deep/two", Value="2", Type="String")
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name="/app/one", Value="1", Type="String")
    assert ssm.put_parameter(Name="/app/one", Value="one", Overwrite=True)["Version"] == 2
    found = ssm.get_parameter(Name="/app/one", WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Type"], found["Version"]) == ("one", "SecureString", 2)
    assert [p["Name"] for p in ssm.get_parameters_by_path(Path="/app")["Parameters"]] == ["/app/one"]
    assert len(ssm.get_parameters_by_path(Path="/app/", Recursive=True)["Parameters"]) == 2
    several = ssm.get_parameters(Names=["/app/one", "/none"])
    assert several["InvalidParameters"] == ["/none"]
    ssm.delete_parameter(Name="/app/one")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/app/one")


def test_parameters_are_there_for_the_next_process(make_client):
    make_client("ssm").put_parameter(Name="/app/key", Value="kept", Type="SecureString")
    assert make_client("ssm").get_parameter(Name="/app/key")["Parameter"]["Value"] == "kept"


def test_mail_becomes_files(make_client, tmp_path):
    text = {"Subject": {"Data": "Verify ö"}, "Body": {"Text": {"Data": "the link"}}}
    make_client("ses").send_email(
        Source="server@example.org", Destination={"ToAddresses": ["alice@example.org"]}, Message=text
    )
    make_client("sesv2").send_email(
        FromEmailAddress="server@example.org",
        Destination={"ToAddresses": ["alice@example.org"]},
        Content={"Simple": text},
    )
    mails = [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in (tmp_path / "mail").glob("*.eml")
    ]
    assert [(mail["To"], mail["Subject"]) for mail in mails] == [("alice@example.org", "Verify ö")] * 2
    assert mails[0].get_content().strip() == "the link"


def test_a_service_that_is_not_ours_is_motos_and_stays_here(make_client):
    kms = make_client("kms")
    assert kms.create_key()["KeyMetadata"]["KeyId"]
