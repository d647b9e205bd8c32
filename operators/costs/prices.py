"""AWS's list prices, in US dollars without taxes, and the amounts that are permanently free.

Offers for new accounts are left out, because they end. Prices are those of the first tier, which is the most
expensive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DATE = "November 2026"
"""When the table was last checked."""
REGION = "us-east-1"
"""Other regions differ by up to a fifth: in Frankfurt, for example, API Gateway and DynamoDB cost more."""


@dataclass(frozen=True, slots=True)
class Price:
    """`dollars` for each `per` units; the first `free` units of a month cost nothing."""

    service: str
    dollars: float
    per: float
    source: str
    free: float = 0

    def of(self, units: float, *, free_tier: bool) -> float:
        """Return the dollars that `units` cost in a month."""
        return max(0.0, units - (self.free if free_tier else 0)) * self.dollars / self.per


_MILLION = 1_000_000
_AWS = "https://aws.amazon.com/"

PRICES: Mapping[str, Price] = {
    "lambda_requests": Price("Lambda", 0.20, _MILLION, _AWS + "lambda/pricing/", free=_MILLION),
    "lambda_gb_seconds": Price("Lambda", 0.0000133334, 1, _AWS + "lambda/pricing/", free=400_000),
    "rest_requests": Price("API Gateway", 3.50, _MILLION, _AWS + "api-gateway/pricing/"),
    "http_requests": Price("API Gateway", 1.00, _MILLION, _AWS + "api-gateway/pricing/"),
    "socket_messages": Price("API Gateway", 1.00, _MILLION, _AWS + "api-gateway/pricing/"),
    "socket_minutes": Price("API Gateway", 0.25, _MILLION, _AWS + "api-gateway/pricing/"),
    "cloudfront_requests": Price(
        "CloudFront", 1.00, _MILLION, _AWS + "cloudfront/pricing/", free=10 * _MILLION
    ),
    "cloudfront_functions": Price(
        "CloudFront", 0.10, _MILLION, _AWS + "cloudfront/pricing/", free=2 * _MILLION
    ),
    "cloudfront_gb": Price("CloudFront", 0.085, 1, _AWS + "cloudfront/pricing/", free=1024),
    "dynamodb_reads": Price("DynamoDB", 0.125, _MILLION, _AWS + "dynamodb/pricing/on-demand/"),
    "dynamodb_writes": Price("DynamoDB", 0.625, _MILLION, _AWS + "dynamodb/pricing/on-demand/"),
    "dynamodb_gb": Price("DynamoDB", 0.25, 1, _AWS + "dynamodb/pricing/on-demand/", free=25),
    "dynamodb_backup_gb": Price("DynamoDB", 0.20, 1, _AWS + "dynamodb/pricing/on-demand/"),
    "sqs_requests": Price("SQS", 0.40, _MILLION, _AWS + "sqs/pricing/", free=_MILLION),
    "s3_gb": Price("S3", 0.023, 1, _AWS + "s3/pricing/"),
    "s3_puts": Price("S3", 0.005, 1_000, _AWS + "s3/pricing/"),
    "s3_gets": Price("S3", 0.0004, 1_000, _AWS + "s3/pricing/"),
    "log_gb": Price("CloudWatch", 0.50, 1, _AWS + "cloudwatch/pricing/", free=5),
    "alarms": Price("CloudWatch", 0.10, 1, _AWS + "cloudwatch/pricing/", free=10),
    "metrics": Price("CloudWatch", 0.30, 1, _AWS + "cloudwatch/pricing/", free=10),
    "dashboards": Price("CloudWatch", 3.00, 1, _AWS + "cloudwatch/pricing/", free=3),
    "key_requests": Price("KMS", 0.03, 10_000, _AWS + "kms/pricing/", free=20_000),
}
"""The prices by what is counted. Reads of a table's stream by Lambda are free, and so are SSM's
parameters."""
