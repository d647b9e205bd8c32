"""The headers that CloudFront adds to what it brings from the bucket."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_cloudfront as cloudfront

from infra_cdk.names import global_name
from infra_cdk.settings import Settings
from murmuration.media.headers import SANDBOX

Policy = cloudfront.CfnResponseHeadersPolicy
HSTS_SECONDS = 31_536_000
_SECURITY = ("Content-Security-Policy", "X-Content-Type-Options")
"""CloudFront has settings of their own for these."""


def make_media_headers(stack: Stack, settings: Settings) -> Policy:
    """Media of strangers are sandboxed wherever they come from; any web page may show them."""
    others = {name: value for name, value in SANDBOX.items() if name not in _SECURITY}
    return Policy(
        stack,
        "MediaResponsePolicy",
        response_headers_policy_config=Policy.ResponseHeadersPolicyConfigProperty(
            name=global_name(settings, "media"),
            cors_config=any_origin(),
            custom_headers_config=Policy.CustomHeadersConfigProperty(
                items=[
                    Policy.CustomHeaderProperty(header=name, value=value, override=True)
                    for name, value in others.items()
                ]
            ),
            security_headers_config=Policy.SecurityHeadersConfigProperty(
                content_security_policy=Policy.ContentSecurityPolicyProperty(
                    content_security_policy=SANDBOX["Content-Security-Policy"], override=True
                ),
                content_type_options=Policy.ContentTypeOptionsProperty(override=True),
                strict_transport_security=Policy.StrictTransportSecurityProperty(
                    access_control_max_age_sec=HSTS_SECONDS,
                    include_subdomains=False,
                    preload=False,
                    override=True,
                ),
            ),
        ),
    )


def any_origin() -> Policy.CorsConfigProperty:
    """Let any web page read an answer, as the specification wants it of a homeserver."""
    return Policy.CorsConfigProperty(
        access_control_allow_credentials=False,
        access_control_allow_headers=Policy.AccessControlAllowHeadersProperty(items=["*"]),
        access_control_allow_methods=Policy.AccessControlAllowMethodsProperty(
            items=["GET", "HEAD", "OPTIONS"]
        ),
        access_control_allow_origins=Policy.AccessControlAllowOriginsProperty(items=["*"]),
        origin_override=True,
    )
