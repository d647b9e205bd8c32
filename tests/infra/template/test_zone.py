"""The DNS records of a deployment with a Route 53 zone."""

from __future__ import annotations

import pytest

from infra_cdk.settings import Settings, SettingsError, read_settings
from tests.infra.conftest import StackWith, Synthesised

ZONE = {"zone": "example.org", "zone_id": "Z0123456789ABC", "certificate_arn": ""}
HOSTS = ("matrix.example.org", "example.org")


@pytest.fixture(scope="module")
def zoned(stack_with: StackWith) -> Synthesised:
    return stack_with(**ZONE)


def test_the_certificate_is_for_all_hosts_and_proves_itself(zoned: Synthesised) -> None:
    (certificate,) = zoned.properties("AWS::CertificateManager::Certificate")
    assert (certificate["DomainName"], *certificate["SubjectAlternativeNames"]) == HOSTS
    assert certificate["ValidationMethod"] == "DNS"
    proofs = {each["DomainName"]: each["HostedZoneId"] for each in certificate["DomainValidationOptions"]}
    assert proofs == dict.fromkeys(HOSTS, "Z0123456789ABC")
    (distribution,) = zoned.properties("AWS::CloudFront::Distribution")
    config = distribution["DistributionConfig"]
    assert config["ViewerCertificate"]["AcmCertificateArn"] == {"Ref": "Certificate"}
    assert tuple(config["Aliases"]) == HOSTS


def test_each_host_leads_to_the_distribution(zoned: Synthesised) -> None:
    records = zoned.properties("AWS::Route53::RecordSet")
    assert {(each["Name"], each["Type"]) for each in records} == {
        (host, kind) for host in HOSTS for kind in ("A", "AAAA")
    }
    for each in records:
        assert each["AliasTarget"] == {
            "DNSName": {"Fn::GetAtt": ["Distribution", "DomainName"]},
            "HostedZoneId": "Z2FDTNDATAQYW2",
        }
        assert each["HostedZoneId"] == "Z0123456789ABC"


def test_another_region_is_refused_before_anything_is_made(zoned: Synthesised) -> None:
    (rule,) = (found for name, found in zoned.template["Rules"].items() if name == "CertificateRegion")
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}


def test_without_a_zone_nothing_of_it_is_made(stack: Synthesised) -> None:
    for kind in ("AWS::CertificateManager::Certificate", "AWS::Route53::RecordSet"):
        assert not stack.of_type(kind)
    assert "CertificateRegion" not in stack.template.get("Rules", {})


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({}, ("matrix.example.org", "example.org")),
        ({"serve_server_name": False}, ("matrix.example.org",)),
        ({"server_name": "matrix.example.org"}, ("matrix.example.org",)),
        ({"server_name": "elsewhere.net"}, ("matrix.example.org",)),
        ({"server_name": "notexample.org"}, ("matrix.example.org",)),
        ({"server_name": "example.org:8448"}, ("matrix.example.org",)),
    ],
)
def test_which_hosts_lead_here(given: dict[str, object], hosts: tuple[str, ...]) -> None:
    settings = Settings.model_validate(
        {"server_name": "example.org", "domain": "matrix.example.org", **ZONE, **given}
    )
    assert settings.hosts == hosts


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone_id": ""},
        {"zone": ""},
        {"domain": ""},
        {"domain": "matrix.example.net"},
        {"domain": "matrixexample.org"},
        {"zone_id": "/hostedzone/Z1"},
        {"certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1"},
    ],
)
def test_what_can_not_be_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        read_settings({"server_name": "example.org", "domain": "matrix.example.org", **ZONE, **wrong})
