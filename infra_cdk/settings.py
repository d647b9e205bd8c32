"""The settings that an operator chooses, read from the CDK context: `cdk.json`, or `-c name=value`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)


class SettingsError(Exception):
    """The context lacks a setting or has a wrong one. The message has a line for each."""


MOST_POST_BYTES = 10_000_000
"""The largest upload that API Gateway accepts."""
MAX_PROVIDERS_BYTES = 2_500
"""A function's environment has 4 KB in total."""
MAX_SERVERS_BYTES = 400
"""The maximum length of each list of servers, for the same reason."""


def _list(value: object) -> Any:
    """Return a list from its form on a command line: `a,b`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _server_name(value: str) -> str:
    from murmuration.protocol.identifiers import is_valid_server_name

    if not is_valid_server_name(value):
        raise ValueError("it must be a server name, such as example.org")
    return value


def _moment(value: str) -> str:
    from murmuration.settings import parse_moment_ms

    try:
        if value:
            parse_moment_ms(value)
    except ValueError:
        raise ValueError("it must be a time with its zone, such as 2026-01-31T12:00:00Z") from None
    return value


def _flows(value: object) -> Any:
    """Return flows from their form on a command line: `a,b c`."""
    return [_list(flow) for flow in value.split()] if isinstance(value, str) else value


def _providers(value: object) -> Any:
    """Return identity providers from their form on a command line: JSON."""
    return json.loads(value) if isinstance(value, str) else value


def _is_within(name: str, zone: str) -> bool:
    """Return whether a host name is that of a zone, or below it."""
    return name == zone or name.endswith(f".{zone}")


class Settings(BaseModel):
    """One deployment's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server_name: Annotated[str, AfterValidator(_server_name)]
    """The part after the colon in user IDs. It can't be changed later."""
    stage: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,15}$")] = "prod"
    """The part in which several deployments of one account differ; each physical name has it."""
    domain: str = ""
    """The host name to which clients and servers connect; CloudFront's own if there is none."""
    certificate_arn: str = ""
    """A certificate for `domain`, in us-east-1, as CloudFront requires."""
    zone: str = ""
    """The Route 53 zone that has `domain`, such as example.org: certificate and records are created in it."""
    zone_id: Annotated[str, Field(pattern="^(Z[A-Z0-9]+)?$")] = ""
    """The zone's ID, which `aws route53 list-hosted-zones` shows after `/hostedzone/`."""
    serve_server_name: bool = True
    """Whether the server name, if it is in `zone`, leads here too, for its well-known files.

    It doesn't if a web site is there, which then serves the files itself.
    """
    registration: Literal["open", "closed", "token"] = "closed"
    rate_limits: bool = True
    media_max_bytes: Annotated[int, Field(ge=65_536, le=MOST_POST_BYTES)] = MOST_POST_BYTES
    """The largest upload. API Gateway accepts 10 MB."""
    media_put_max_bytes: Annotated[int, Field(ge=0, le=500_000_000)] = 100_000_000
    """The largest upload by PUT to a media ID that was created before: 0, or more than 10 MB.

    CloudFront stores uploads of more than 10 MB. With 0, or a lower `media_max_bytes`, it stores none.
    """
    media_quota_bytes: Annotated[int, Field(ge=0)] = 5_000_000_000
    """How much one user may upload in total; 0 for no limit."""
    remote_media_max_bytes: Annotated[int, Field(ge=65_536, le=209_715_200)] = 104_857_600
    """The largest file of another server that is fetched: within 24 s, through a function's disk of
    512 MB."""
    remote_media_days: Annotated[int, Field(ge=2, le=3_650)] = 30
    """How long other servers' media are kept after their last use."""
    local_media_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """After how many days without use this server's own files are deleted; 0 for never."""
    federated_presence: bool = False
    """Whether presence is exchanged with other servers. It costs more than all messages."""
    url_previews: bool = True
    """Whether clients may request previews of URLs."""
    unauthenticated_media_before: Annotated[str, AfterValidator(_moment)] = ""
    """Media uploaded before this time, such as 2026-01-31T12:00:00Z, stay readable without a token."""
    turn_uris: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    turn_ttl: Annotated[int, Field(ge=60)] = 86_400
    identity_server_url: str = ""
    mail_sender: str = ""
    """The address from which mail is sent. Its domain must be verified with SES. Without it no mail
    is sent."""
    login_flows: Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_flows)] = ()
    """The flows by which users log in, each a list of stages; if empty, all that the other settings allow."""
    identity_providers: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_providers)] = ()
    """The identity providers by which users may log in: `murmuration.accounts.sso.identity_providers`
    describes the fields.

    The client secrets aren't settings: put them into SSM, as `identity-provider-<id>`.
    """
    sso_trusted_clients: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    """Single sign-on redirects to clients whose URLs begin with one of these without asking the user."""
    support_admin: str = ""
    """A user ID or mail address for contacting the server's administrators."""
    support_security: str = ""
    """The same for security matters."""
    support_page: str = ""
    """A page that helps the server's users."""
    alarm_email: str = ""
    """The mail address that gets alarms."""
    hourly_budget: Annotated[int, Field(ge=1_000, le=1_000_000_000)] = 240_000
    """How much a user, or an address without an account, may cost in an hour, in microdollars."""
    federation_budget: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """How much all other servers together may cost in a month, in dollars; beyond it they have to wait. 0 for
    no limit."""
    metrics: bool = False
    """Whether the functions write metrics into their logs. CloudWatch charges $0.30 a month for each."""
    empty_room_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    """After how many days a room that everybody left is deleted, with its history; 0 for never."""
    retention: bool = False
    """Whether messages are purged when they reach the age that their room sets (`m.room.retention`)."""
    retention_default_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """How long rooms that set no lifetime keep their messages; 0 for ever."""
    retention_shortest_days: Annotated[int, Field(ge=0, le=36_500)] = 1
    """How long messages are kept at least, whatever their room sets."""
    retention_longest_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """How long messages are kept at most in rooms that set a lifetime; 0 for no limit."""
    default_room_version: Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] = "12"
    """The version of rooms whose creators request none. Some clients can't send into version 12 yet."""
    event_delay_max: Annotated[int, Field(ge=0, le=31_536_000)] = 86_400
    """How many seconds ahead an event may be scheduled; 0 for no delayed events."""
    livekit_service_url: Annotated[str, Field(pattern="^(https://.+)?$")] = ""
    """The service that gives clients tokens for LiveKit calls, as Element Call needs it."""
    federation: bool = True
    """Whether the server federates."""
    federation_allow: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    """Globs of server names. If there are any, this server communicates with no other servers."""
    federation_deny: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    """Globs of the names of servers with which it doesn't communicate, whatever `federation_allow` says."""
    federation_max_members: Annotated[int, Field(ge=0)] = 20_000
    """How many members a room may have that a user joins through another server; 0 for no limit."""
    key_notaries: Annotated[tuple[str, ...], BeforeValidator(_list)] = ("matrix.org",)
    """Servers that are asked for the keys of unreachable ones."""
    waiting: Literal["held", "parked"] = "parked"
    """Where clients wait for updates: in a function's invocation, or on their queue without one."""
    waits: Literal["edge", "rest"] = "edge"
    """How CloudFront reaches the queue of a parked client: directly, or through a REST API.

    At the edge CloudFront asks SQS itself, which costs a third, and the REST API only if SQS refuses. Its
    requests aren't signed, so the queues let everybody receive who knows a secret, and aren't encrypted. They
    contain only numbers of registrations.
    """
    stored_forms: Literal["now", "before"] = "now"
    """In which form items are written: that of this release, or that of the previous one."""
    api: Literal["http", "rest"] = "http"
    """The kind of APIs that have functions' routes. An HTTP API costs two sevenths of a REST API."""
    memory: Annotated[int, Field(ge=128, le=10_240)] = 512
    """The memory of a function in megabytes, unless `modules` sets it. The CPU is proportional to it."""
    account_concurrency: Annotated[int, Field(ge=0)] = 0
    """How many functions may run at once in the account, by its quota; 0 while that isn't known.

    Parts of it are reserved for functions that callers can occupy for long; if it is less than about 300,
    nothing is reserved. AWS refuses to reserve what the account doesn't have, and a new account may run ten
    functions at once. So a first deployment reserves nothing, and `murmuration doctor` says when there is
    enough.
    """
    requests_per_second: Annotated[int, Field(ge=1, le=10_000)] = 2_000
    """How many requests a second each method of each API accepts: a stage's throttle counts for each method.

    2,000 people with three devices each wake 300 times a second, and all their devices at once if something
    happens in a room with all of them. It implies no total, so it doesn't limit a bill.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """
    federation_requests_per_second: Annotated[int, Field(ge=1, le=10_000)] = 500
    """The same for the API that other servers call, so that a flood of theirs doesn't affect users'
    requests."""
    price_class: Literal["100", "200", "all"] = "all"
    """Which of CloudFront's locations answer clients: all, or only those in regions that cost less.

    With 100 only those in North America, Europe and Israel do, so that clients elsewhere have a detour, even
    if the deployment is in their own region.
    """
    monthly_budget: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    """How many US dollars the account may cost in a month before AWS mails `alarm_email`; 0 for no budget."""
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "WARN"
    """At INFO, Lambda's own lines for each invocation cost more than the invocation."""
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 180, 365] = 30
    protected: bool = False
    """Whether AWS refuses to delete tables and stack. Set it after the first deployment.

    With it, a first deployment that failed could not be cleaned up. `murmuration doctor` reminds the operator
    of it.
    """
    ephemeral: bool = False
    """Whether `cdk destroy` deletes the data too: only for trials and tests."""

    @model_validator(mode="after")
    def _domain_with_certificate(self) -> Settings:
        if bool(self.zone) != bool(self.zone_id):
            raise ValueError("zone and zone_id go together: give both or neither")
        if self.zone and self.certificate_arn:
            raise ValueError("zone makes a certificate: leave out certificate_arn")
        if self.zone and not _is_within(self.domain, self.zone):
            raise ValueError(f"domain must be {self.zone} or end in .{self.zone}, the zone's name")
        if bool(self.domain) != bool(self.certificate_arn or self.zone):
            raise ValueError("domain and certificate_arn go together: give both or neither, or a zone")
        if self.certificate_arn and not self.certificate_arn.startswith("arn:aws:acm:us-east-1:"):
            raise ValueError(
                "certificate_arn must name a certificate in us-east-1: CloudFront takes no other"
            )
        return self

    @model_validator(mode="after")
    def _protected_or_a_try(self) -> Settings:
        if self.protected and self.ephemeral:
            raise ValueError("protected and ephemeral contradict each other: a try isn't protected")
        return self

    @model_validator(mode="after")
    def _logins_that_work(self) -> Settings:
        """Refuse settings with which the functions would fail as soon as a user logs in."""
        from murmuration.accounts.login_flows import read_login_flows
        from murmuration.accounts.sso.identity_providers import read_providers
        from murmuration.settings import SettingsError as Refused

        try:
            read_providers(self.identity_providers_text)
            read_login_flows(
                self.login_flows_text, mail=bool(self.mail_sender), providers=bool(self.identity_providers)
            )
        except Refused as error:
            raise ValueError(str(error)) from None
        size = len(self.identity_providers_text.encode())
        if size > MAX_PROVIDERS_BYTES:
            raise ValueError(
                f"identity_providers has {size} bytes; functions have room for {MAX_PROVIDERS_BYTES}"
            )
        return self

    @model_validator(mode="after")
    def _lists_that_fit(self) -> Settings:
        for name in ("federation_allow", "federation_deny", "key_notaries"):
            size = len(",".join(getattr(self, name)).encode())
            if size > MAX_SERVERS_BYTES:
                raise ValueError(f"{name} has {size} bytes; functions have room for {MAX_SERVERS_BYTES}")
        return self

    @property
    def most_put_bytes(self) -> int:
        """The largest upload that CloudFront stores; 0 if it stores none.

        An operator who sets a lower limit than API Gateway's doesn't want larger files in another way.
        """
        return self.media_put_max_bytes if self.media_max_bytes >= MOST_POST_BYTES else 0

    @property
    def has_rest_beside(self) -> bool:
        """Whether there is a REST API beside the HTTP APIs, for routes that those can't have.

        An HTTP API can't receive from wake queues or put an upload into the bucket. Where clients wait at the
        edge, the route to wake queues has the same paths as SQS.
        """
        return self.api == "http" or self.waits_at_edge

    @property
    def waits_at_edge(self) -> bool:
        """Whether CloudFront itself receives from the queues of parked clients."""
        return self.waiting == "parked" and self.waits == "edge"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that point to this deployment: the domain, and the server name if it is in the
        zone.
        """
        if not self.domain:
            return ()
        serves_name = self.zone and self.serve_server_name and _is_within(self.server_name, self.zone)
        return tuple(dict.fromkeys((self.domain, self.server_name) if serves_name else (self.domain,)))

    @property
    def login_flows_text(self) -> str:
        """The login flows in the form in which functions read them."""
        return " ".join(",".join(flow) for flow in self.login_flows)

    @property
    def identity_providers_text(self) -> str:
        """The identity providers in the form in which functions read them."""
        return json.dumps(self.identity_providers, separators=(",", ":")) if self.identity_providers else ""

    @property
    def prefix(self) -> str:
        """The prefix of each physical name."""
        return f"murmuration-{self.stage}"


def read_settings(context: Mapping[str, object]) -> Settings:
    """Return the settings in a CDK context, ignoring the CDK's own flags (`@aws-cdk/…`, `aws:…`).

    Raises SettingsError.
    """
    ours = {name: value for name, value in context.items() if name[:1] != "@" and ":" not in name}
    try:
        return Settings.model_validate(ours)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None


def _explain(problem: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{name} is missing: set it in the context of cdk.json, or pass -c {name}=…"
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{name} is not a setting{hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name} is {problem['input']!r}: {message}" if name else message
