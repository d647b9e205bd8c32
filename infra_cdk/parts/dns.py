"""Certificate and DNS records, if the settings name a Route 53 zone; otherwise the operator makes both by
hand.

CloudFront accepts only certificates of us-east-1, and CloudFormation creates one in the stack's region. So a
deployment with a zone must be in us-east-1: a rule refuses other regions before anything is created.
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html
"""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnRule, CfnRuleAssertion, Fn, Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_route53 as route53

from infra_cdk.names import logical_id
from infra_cdk.settings import Settings

CLOUDFRONT_ZONE = "Z2FDTNDATAQYW2"
"""The zone ID that an alias record for a distribution names.

https://docs.aws.amazon.com/Route53/latest/APIReference/API_AliasTarget.html
"""


def make_certificate(stack: Stack, settings: Settings) -> Any:
    """Return the ARN of the certificate: the one in the settings, or a new one for all hosts; None without a
    domain.

    To validate a new one, ACM adds records to the zone and waits until it sees them.
    """
    if not settings.zone:
        return settings.certificate_arn or None
    CfnRule(
        stack,
        "CertificateRegion",
        assertions=[
            CfnRuleAssertion(
                assert_=Fn.condition_equals(stack.region, "us-east-1"),
                assert_description="With a zone, deploy to us-east-1: CloudFront takes no other certificate.",
            )
        ],
    )
    first, *others = settings.hosts
    return acm.CfnCertificate(
        stack,
        "Certificate",
        domain_name=first,
        subject_alternative_names=others or None,
        validation_method="DNS",
        domain_validation_options=[
            acm.CfnCertificate.DomainValidationOptionProperty(
                domain_name=host, hosted_zone_id=settings.zone_id
            )
            for host in settings.hosts
        ],
    ).ref


def make_records(stack: Stack, settings: Settings, distribution: cloudfront.CfnDistribution) -> None:
    """Add DNS records that point each host to the distribution, for IPv4 and IPv6.

    The deployment fails if a record exists already, because somebody else may have made it.
    """
    if not settings.zone:
        return
    for host in settings.hosts:
        for kind in ("A", "AAAA"):
            route53.CfnRecordSet(
                stack,
                logical_id("record", host, kind),
                hosted_zone_id=settings.zone_id,
                name=host,
                type=kind,
                alias_target=route53.CfnRecordSet.AliasTargetProperty(
                    dns_name=distribution.attr_domain_name, hosted_zone_id=CLOUDFRONT_ZONE
                ),
            )
