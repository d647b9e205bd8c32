"""The stack: every resource of a deployment, made from the functions that discovery found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import App, CfnOutput, CfnResource, Fn, NestedStack, Stack, Token

from infra_cdk import acknowledgements
from infra_cdk.division import NESTED, Division, division_of
from infra_cdk.layers import Layers
from infra_cdk.parts.api import make_api, make_beside, make_invoker, make_uploader, make_waiter, one_by_one
from infra_cdk.parts.budget import make_budget
from infra_cdk.parts.edge import make_edge, public_url
from infra_cdk.parts.event_sources import make_event_sources, source_statements
from infra_cdk.parts.functions import DeploymentError, make_functions, make_layers, make_log_group
from infra_cdk.parts.http_api import make_http_api
from infra_cdk.parts.media_bucket import make_bucket_policy, make_media_bucket
from infra_cdk.parts.monitoring import make_monitoring
from infra_cdk.parts.policies import Resources
from infra_cdk.parts.queues import fifo_names, make_queues
from infra_cdk.parts.secrets import VIEWER_SECRET, make_secrets, parameter_name
from infra_cdk.parts.tables import make_tables
from infra_cdk.parts.websocket import (
    callback_url,
    connections_arn,
    make_socket_api,
    make_socket_routes,
    socket_functions,
)
from infra_cdk.settings import Settings
from infra_shared.apis import PARTS
from murmuration.endpoint import Function, is_wanted


def make_stack(app: App, settings: Settings, functions: Sequence[Function], layers: Layers) -> Stack:
    """Make the whole deployment. Raises DeploymentError for functions that can't be deployed."""
    stack = Stack(
        app,
        settings.prefix,
        description=f"Murmuration, a Matrix homeserver: {settings.server_name}",
        termination_protection=settings.protected,
    )
    functions = [each for each in functions if is_wanted(each.route, federation=settings.federation)]
    tables = make_tables(stack, settings)
    queues = make_queues(stack, settings, functions)
    bucket = make_media_bucket(stack, settings, queues)
    log_group = make_log_group(stack, settings)
    secrets_function, secrets = make_secrets(stack, settings, log_group, bucket)

    invoker = make_invoker(stack, settings, functions)
    if settings.waiting == "parked":
        make_waiter(stack, settings)
    make_uploader(stack, bucket.attr_arn)
    make = make_http_api if settings.api == "http" else make_api
    apis = {part: make(stack, settings, functions, part) for part in PARTS}
    beside = make_beside(stack, settings, functions) if settings.has_rest_beside else None
    socket_api = make_socket_api(stack, settings) if socket_functions(functions) else None
    distribution = make_edge(stack, settings, apis, beside, socket_api, secrets, bucket)
    make_bucket_policy(stack, bucket, distribution)

    common: Any = {
        "layer_arns": make_layers(stack, settings, layers),
        "log_group": log_group,
        "resources": Resources(
            settings,
            fifo_names(functions),
            bucket.attr_arn,
            connections_arn(socket_api) if socket_api else None,
        ),
        "environment": environment(
            settings,
            PUBLIC_URL=public_url(settings, distribution),
            QUEUE_URLS=Fn.sub("https://sqs.${AWS::Region}.${AWS::URLSuffix}/${AWS::AccountId}/"),
            MEDIA_BUCKET=bucket.ref,
            SOCKET_ENDPOINT=callback_url(socket_api) if socket_api else "",
        ),
    }
    deployed = make_functions(
        stack,
        settings,
        [function for function in functions if not division_of(function)],
        event_statements=source_statements(settings, functions, tables, queues),
        after=[secrets_function],
        **common,
    )
    last = deployed.last
    for division in NESTED:
        last = _make_nested(stack, settings, division, functions, last, common)
    all_apis = [*apis.values(), *([beside] if beside else [])]
    one_by_one(all_apis)
    for api in all_apis:
        for resource in last:
            api.deployment.add_resource_dependency(resource)
    if socket_api is not None:
        make_socket_routes(stack, settings, socket_api, functions, invoker)
    make_event_sources(stack, deployed, tables, queues)
    make_budget(stack, settings)
    make_monitoring(stack, settings, functions, log_group)

    CfnOutput(
        stack, "Address", value=distribution.attr_domain_name, description="Where the domain must point to"
    )
    CfnOutput(stack, "Url", value=public_url(settings, distribution), description="What clients are given")
    CfnOutput(stack, "MediaBucketName", value=bucket.ref)
    acknowledgements.acknowledge(stack)
    return stack


def _make_nested(
    stack: Stack,
    settings: Settings,
    division: Division,
    functions: Sequence[Function],
    after: Sequence[CfnResource],
    common: Any,
) -> Sequence[CfnResource]:
    """Make a nested stack with its functions, after the resources in `after`.

    No resource refers to them, because API Gateway finds functions by their names. Returns the resources that
    are made last.
    """
    within = [function for function in functions if division_of(function) == division]
    if not within:
        return after
    nested = NestedStack(stack, division)
    make_functions(nested, settings, within, event_statements={}, **common)
    resource = nested.nested_stack_resource
    assert resource is not None  # noqa: S101 - each nested stack has one in its parent
    for each in after:
        resource.add_resource_dependency(each)
    acknowledgements.acknowledge(nested)
    return [resource]


MAX_ENVIRONMENT_BYTES = 4_096
"""The maximum size of all variables of a function together.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""
MOST_PUT = 100_000_000
"""The largest upload by PUT if a function's environment doesn't set it (`murmuration.settings`)."""
OVERHEAD_BYTES = 6
"""The size of quotes, a colon and a comma: AWS doesn't document whether it counts them."""


def retention(settings: Settings) -> Mapping[str, str]:
    """Return the environment variables that say how long messages are kept."""
    return {
        "RETENTION": "on",
        "RETENTION_DEFAULT_DAYS": str(settings.retention_default_days),
        "RETENTION_SHORTEST_DAYS": str(settings.retention_shortest_days),
        "RETENTION_LONGEST_DAYS": str(settings.retention_longest_days),
    }


def environment(settings: Settings, **parts: Any) -> Mapping[str, Any]:
    """Return the environment variables of every function; `murmuration.settings` reads them.

    Raises DeploymentError if the settings are too long for them: otherwise Lambda would refuse the first
    function.
    """
    values = {
        "SERVER_NAME": settings.server_name,
        "PREFIX": settings.prefix,
        "REGISTRATION": settings.registration,
        "RATE_LIMITS": "on" if settings.rate_limits else "off",
        "WAITING": settings.waiting,
        "WAITS": "edge" if settings.waits_at_edge else "rest",
        "API": settings.api,
        "STORED_FORMS": settings.stored_forms if settings.stored_forms != "now" else "",
        "MEDIA_MAX_BYTES": str(settings.media_max_bytes),
        "MEDIA_PUT_MAX_BYTES": str(settings.most_put_bytes) if settings.most_put_bytes != MOST_PUT else "",
        "MEDIA_QUOTA_BYTES": str(settings.media_quota_bytes),
        "REMOTE_MEDIA_MAX_BYTES": str(settings.remote_media_max_bytes),
        "REMOTE_MEDIA_DAYS": str(settings.remote_media_days),
        "LOCAL_MEDIA_DAYS": str(settings.local_media_days) if settings.local_media_days else "",
        "FEDERATED_PRESENCE": "on" if settings.federated_presence else "off",
        "URL_PREVIEWS": "on" if settings.url_previews else "off",
        "UNAUTHENTICATED_MEDIA_BEFORE": settings.unauthenticated_media_before,
        "VIEWER_SECRET_PARAMETER": parameter_name(settings, VIEWER_SECRET),
        "TURN_URIS": ",".join(settings.turn_uris),
        "TURN_TTL": str(settings.turn_ttl),
        "DEFAULT_ROOM_VERSION": settings.default_room_version,
        "EVENT_DELAY_MAX": str(settings.event_delay_max),
        "LIVEKIT_SERVICE_URL": settings.livekit_service_url,
        "HOURLY_BUDGET": str(settings.hourly_budget),
        "METRICS": "on" if settings.metrics else "",
        "EMPTY_ROOM_DAYS": str(settings.empty_room_days),
        **(retention(settings) if settings.retention else {}),
        "IDENTITY_SERVER_URL": settings.identity_server_url,
        "MAIL_SENDER": settings.mail_sender,
        "LOGIN_FLOWS": settings.login_flows_text,
        "SUPPORT_ADMIN": settings.support_admin,
        "SUPPORT_SECURITY": settings.support_security,
        "SUPPORT_PAGE": settings.support_page,
        "IDENTITY_PROVIDERS": settings.identity_providers_text,
        "SSO_TRUSTED_CLIENTS": ",".join(settings.sso_trusted_clients),
        "FEDERATION": "on" if settings.federation else "off",
        "FEDERATION_BUDGET": str(settings.federation_budget) if settings.federation_budget != 20 else "",
        "FEDERATION_ALLOW": ",".join(settings.federation_allow),
        "FEDERATION_DENY": ",".join(settings.federation_deny),
        "FEDERATION_MAX_MEMBERS": str(settings.federation_max_members),
        "KEY_NOTARIES": ",".join(settings.key_notaries) or "none",
        **parts,
    }
    found = {f"MURMURATION_{name}": value for name, value in values.items() if value != ""}
    sizes = {name: len(name) + _longest(value) + OVERHEAD_BYTES for name, value in found.items()}
    if (size := sum(sizes.values())) > MAX_ENVIRONMENT_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:4]
        named = ", ".join(name.removeprefix("MURMURATION_").lower() for name in largest)
        raise DeploymentError(
            f"the settings need {size} bytes of a function's environment, which has room for"
            f" {MAX_ENVIRONMENT_BYTES}: shorten some of {named}"
        )
    return found


def _longest(value: Any) -> int:
    """Return the maximum length of a variable's value: 130 for one that only the deployment knows."""
    return len(value.encode()) if isinstance(value, str) and not Token.is_unresolved(value) else 130
