"""Requirements on the deployment's template that hold for any set of functions."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra_cdk import modules
from infra_cdk.parts.api import openapi
from infra_cdk.parts.edge import QUEUES
from infra_cdk.parts.functions import RUNTIME
from infra_cdk.parts.http_api import http_openapi
from infra_cdk.settings import Settings, SettingsError
from infra_cdk.settings import read_settings as read_deployment
from infra_shared import edge_waits, uploads
from infra_shared.apis import PARTS
from infra_shared.grants import GRANTS
from murmuration.endpoint import Http, Queue, Schedule, Stream, WebSocket
from murmuration.settings import read_settings
from murmuration.storage.tables import TABLES
from tests.infra.conftest import PREFIX, REST, TRY, StackWith, Synthesised, functions, physical_names, read

pytestmark = pytest.mark.xdist_group("template")  # which is synthesised once for them all
FUNCTION_FILES = sorted(path for path in Path("functions").rglob("*.py") if not path.name.startswith("_"))


# -- Functions and routes --------------------------------------------------------------------------------


def test_each_endpoint_file_is_one_function(stack: Synthesised) -> None:
    handlers = {
        found["Handler"]
        for found in stack.properties("AWS::Lambda::Function")
        if found["Handler"].startswith("functions.")
    }
    assert handlers == {".".join(path.with_suffix("").parts) + ".handler" for path in FUNCTION_FILES}


@pytest.mark.parametrize("api", ["http", "rest"])
def test_the_routes_are_those_that_the_files_declare(stack_with: StackWith, api: str) -> None:
    declared: dict[tuple[str, str], str] = {}
    for path in FUNCTION_FILES:
        for route in _declared_routes(path):
            declared[route] = physical_names()[".".join(path.with_suffix("").parts)]
    routed = stack_with(**(REST if api == "rest" else {})).routes()
    rest = "x-amazon-apigateway-any-method"
    fallback = routed["/{proxy+}", rest]
    assert {route: name for route, name in routed.items() if route[1] != rest} == {
        route: name for route, name in declared.items() if name != fallback
    }
    # An HTTP API has no paths for large uploads; what comes to the REST API beside has one method each.
    paths = {path for path, _ in routed if api == "rest" or not path.startswith(uploads.PREFIX)}
    by_get = {(path, rest): routed.get((path, "get"), fallback) for path in paths}
    by_get["/", rest] = routed["/", rest]  # each API has it, and only one has the page
    assert {route: name for route, name in routed.items() if route[1] == rest} == by_get


@pytest.mark.parametrize("api", ["http", "rest"])
def test_each_method_has_one_response_for_a_status_code(stack_with: StackWith, api: str) -> None:
    """A REST API keeps one integration response for each status code of a method, and drops the others
    silently.
    """
    stack = stack_with(**(REST if api == "rest" else {}))
    answered = 0
    for found in stack.properties("AWS::ApiGateway::RestApi"):
        for path, methods in found["Body"]["paths"].items():
            for method, operation in methods.items():
                integration = operation["x-amazon-apigateway-integration"]
                codes = [each["statusCode"] for each in integration.get("responses", {}).values()]
                answered += bool(codes)
                assert len(codes) == len(set(codes)), f"{method} {path} has two responses of one status code"
                assert set(codes) <= set(operation["responses"]), f"{method} {path} declares no such response"
    assert answered == 4, "the queues by GET and POST, and uploads by POST and PUT"


def _declared_routes(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the method and path of the file's decorator, read from its source."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "endpoint":
            names = vars(importlib.import_module(".".join(path.with_suffix("").parts)))
            method, route = (_value(argument, names) for argument in node.args[:2])
            older = next((keyword.value for keyword in node.keywords if keyword.arg == "also"), None)
            also = _value(older, names) if older is not None else ()
            for one in (route, *also):
                other, _, route = one.rpartition(" ")
                verb = other or method
                yield route, "x-amazon-apigateway-any-method" if verb == "ANY" else verb.lower()


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return the value of a decorator's argument, also if the file gives a name to a part of it."""
    return eval(ast.unparse(node), dict(names))


def test_every_function_runs_the_same_way(stack: Synthesised) -> None:
    for properties in stack.properties("AWS::Lambda::Function"):
        assert properties["Runtime"] == RUNTIME
        assert properties["Architectures"] == ["arm64"]
        assert properties["LoggingConfig"]["LogFormat"] == "JSON"
        assert properties["LoggingConfig"]["SystemLogLevel"] == "WARN"
        assert properties["FunctionName"].startswith(f"{PREFIX}-")
        assert len(properties["FunctionName"]) <= 64


def test_the_runtime_is_the_newest_python_that_the_library_knows() -> None:
    from aws_cdk import aws_lambda

    known = [name for name in vars(aws_lambda.Runtime) if re.fullmatch(r"PYTHON_3_\d+", name)]
    newest = max(known, key=lambda name: int(name.rpartition("_")[2]))
    assert newest.lower().replace("_", "", 1).replace("_", ".") == RUNTIME


def test_http_functions_end_before_the_gateway_gives_up(stack: Synthesised) -> None:
    timeouts = {
        found["FunctionName"]: found["Timeout"] for found in stack.properties("AWS::Lambda::Function")
    }
    for function in functions():
        if isinstance(function.route, Http):
            assert timeouts[physical_names()[function.module]] <= 29


def test_functions_have_the_memory_that_they_need(stack: Synthesised) -> None:
    found = {each["FunctionName"]: each["MemorySize"] for each in stack.properties("AWS::Lambda::Function")}
    names = physical_names()
    for module, megabytes in (
        ("sync.sync", 512),
        ("sync.sliding_sync", 512),
        ("key_backup.get_room_keys", 1769),
    ):
        assert found[names[f"functions.client_server.{module}"]] == megabytes


def test_a_functions_asset_is_its_one_file(stack: Synthesised) -> None:
    import zipfile

    manifest = json.loads(next(stack.path.parent.glob("*.assets.json")).read_text())
    names = set()
    for entry in manifest["files"].values():
        path = stack.path.parent / entry["source"]["path"]
        if path.suffix == ".zip":
            names.add(tuple(zipfile.ZipFile(path).namelist()))
    assert {(str(path),) for path in FUNCTION_FILES} <= names


def test_the_environment_is_what_settings_read(stack: Synthesised) -> None:
    (environment,) = {
        json.dumps(
            {
                name: value if isinstance(value, str) else {}
                for name, value in found["Environment"]["Variables"].items()
            },
            sort_keys=True,
        )
        for found in stack.properties("AWS::Lambda::Function")
        if "Environment" in found
    }
    given = json.loads(environment)
    asked: set[str] = set()

    class Asked(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    values = {name: value if isinstance(value, str) else "a-reference" for name, value in given.items()}
    read = read_settings(Asked(values))
    assert set(given) <= asked
    assert read.server_name == "example.org"
    assert read.public_url == "https://matrix.example.org"
    assert read.prefix == PREFIX
    assert read.turn_uris == ("turn:turn.example.org",)


# -- Sources of events -----------------------------------------------------------------------------------


def test_each_worker_has_its_source(stack: Synthesised) -> None:
    workers = [function for function in functions() if isinstance(function.route, Stream | Queue)]
    mappings = stack.properties("AWS::Lambda::EventSourceMapping")
    streams = [function for function in workers if isinstance(function.route, Stream)]
    assert len(mappings) == len(streams), "Lambda polls no queue"
    for mapping in mappings:
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["DestinationConfig"]["OnFailure"]["Destination"]
        assert mapping["StartingPosition"] == "TRIM_HORIZON"
    rings = stack.properties("AWS::Lambda::EventInvokeConfig")
    assert len(rings) == len(workers) - len(streams)
    assert all(each["MaximumRetryAttempts"] == 0 for each in rings), "a sweep makes up for a lost ring"
    schedules = [function for function in functions() if isinstance(function.route, Schedule)]
    assert len(stack.of_type("AWS::Events::Rule")) == len(schedules)
    sockets = [function for function in functions() if isinstance(function.route, WebSocket)]
    assert len(stack.of_type("AWS::ApiGatewayV2::Route")) == len(sockets)
    integrations = stack.properties("AWS::ApiGatewayV2::Integration")
    assert [each["IntegrationMethod"] for each in integrations] == ["POST"] * len(sockets), "AWS demands it"


def test_what_fails_too_often_is_kept(stack: Synthesised) -> None:
    for name, queue in stack.of_type("AWS::SQS::Queue").items():
        properties = queue["Properties"]
        if "DeadLetters" in name:
            assert properties["MessageRetentionPeriod"] == 1_209_600
        else:
            assert properties["RedrivePolicy"]["maxReceiveCount"] >= 3
        assert properties["QueueName"].endswith(".fifo") == properties.get("FifoQueue", False)


# -- Data ------------------------------------------------------------------------------------------------


def test_tables_are_as_the_storage_defines_them(stack: Synthesised) -> None:
    tables = {
        found["Properties"]["TableName"]: found for found in stack.of_type("AWS::DynamoDB::Table").values()
    }
    assert set(tables) == {f"{PREFIX}-{table.name}" for table in TABLES}
    for table in TABLES:
        found = tables[f"{PREFIX}-{table.name}"]
        properties = found["Properties"]
        request = table.create_request("any")
        assert properties["KeySchema"] == request["KeySchema"]
        assert properties["AttributeDefinitions"] == request["AttributeDefinitions"]
        assert properties["BillingMode"] == "PAY_PER_REQUEST"
        assert properties.get("LocalSecondaryIndexes", []) == request.get("LocalSecondaryIndexes", [])
        assert ("StreamSpecification" in properties) == table.streams
        if table.ttl:
            assert properties["TimeToLiveSpecification"] == {"AttributeName": table.ttl, "Enabled": True}
        past = properties.get("PointInTimeRecoverySpecification", {})
        assert past.get("PointInTimeRecoveryEnabled", False) is table.is_backed_up
        assert properties["DeletionProtectionEnabled"] is False, "a first deployment that fails is cleaned up"


def test_a_deployment_that_stands_is_protected(stack_with: StackWith) -> None:
    stack = stack_with(protected="true", monthly_budget="0")
    assert all(found["DeletionProtectionEnabled"] for found in stack.properties("AWS::DynamoDB::Table"))
    manifest = json.loads((stack.path.parent / "manifest.json").read_text())
    assert manifest["artifacts"][PREFIX]["properties"]["terminationProtection"] is True


def test_users_data_outlives_the_stack(stack: Synthesised) -> None:
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
        for found in stack.of_type(kind).values():
            assert found["DeletionPolicy"] == "RetainExceptOnCreate"
            assert found["UpdateReplacePolicy"] == "Retain"


def test_a_try_goes_without_a_trace(stack_to_try: Synthesised) -> None:
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
        for found in stack_to_try.of_type(kind).values():
            assert found["DeletionPolicy"] == "Delete"
            assert found["Properties"].get("DeletionProtectionEnabled", False) is False


def test_the_bucket_is_private_encrypted_and_tls_only(stack: Synthesised) -> None:
    (bucket,) = stack.properties("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    (policy,) = stack.properties("AWS::S3::BucketPolicy")
    (statement,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Deny"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert all(queue["SqsManagedSseEnabled"] is True for queue in stack.properties("AWS::SQS::Queue"))


def reserved_in(stack: Synthesised) -> dict[str, int]:
    """Return the reserved concurrencies by the names of the handlers."""
    return {
        found["Handler"].removeprefix("functions.").removesuffix(".handler"): found[
            "ReservedConcurrentExecutions"
        ]
        for found in stack.properties("AWS::Lambda::Function")
        if "ReservedConcurrentExecutions" in found
    }


def test_what_can_be_held_for_long_starves_nothing_else(stack: Synthesised) -> None:
    found = reserved_in(stack)
    assert found == modules.reserved(1_000, held=False)
    assert set(found) == {*modules.SHARES, *modules.WORKERS}, "each share is of a function that there is"
    assert all(count >= 1 for count in found.values())
    assert found["client_server.sync.sync"] == found["client_server.sync.sliding_sync"] == 160
    assert 1_000 - sum(found.values()) >= 300, "the rest of the functions have a good part for themselves"


def test_a_first_deployment_reserves_nothing(stack_to_try: Synthesised) -> None:
    """A new account may run ten functions at once, and AWS refuses to reserve any of them."""
    assert Settings(server_name="example.org").account_concurrency == 0
    assert reserved_in(stack_to_try) == {}


@pytest.mark.parametrize(("quota", "held", "reserves"), [
    (1_000, True, True), (300, False, True), (300, True, False), (200, False, False), (10, False, False),
    (0, False, False),
])  # fmt: skip
def test_a_small_account_reserves_nothing(quota: int, held: bool, reserves: bool) -> None:
    found = modules.reserved(quota, held=held)
    assert bool(found) is reserves
    assert not found or quota - sum(found.values()) >= 100
    assert not found or found["client_server.sync.sync"] == quota * (40 if held else 16) // 100


def test_workers_have_a_share_where_enough_is_left() -> None:
    assert modules.WORKERS.keys() <= modules.reserved(1_000, held=False).keys()
    assert not modules.WORKERS.keys() & modules.reserved(1_000, held=True).keys()


def test_a_queue_has_a_worker_that_whoever_may_send_may_ring(stack: Synthesised) -> None:
    names = {found["FunctionName"] for found in stack.properties("AWS::Lambda::Function")}
    roles = {name: role for name, role in stack.of_type("AWS::IAM::Role").items() if "Workers" in name}
    rung = {
        resource["Fn::Sub"].rpartition(":")[2]
        for role in roles.values()
        for policy in role["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if "lambda:InvokeFunction" in statement["Action"]
        for resource in statement["Resource"]
    }
    queues = {found["QueueName"].removesuffix(".fifo") for found in stack.properties("AWS::SQS::Queue")}
    assert rung == {
        f"{PREFIX}-queue-{name.removeprefix(f'{PREFIX}-')}" for name in queues if "dead-letters" not in name
    }
    assert rung <= names


def test_a_server_that_does_not_federate_has_nothing_for_it(stack_with: StackWith) -> None:
    alone = stack_with(federation="false")
    queues = {found["QueueName"] for found in alone.properties("AWS::SQS::Queue")}
    assert not any(name in queue for queue in queues for name in ("outbound", "room-pdus", "remote-joins"))
    assert any(queue.endswith("dead-letters.fifo") for queue in queues), "letters may be in it"
    assert len(alone.of_type("AWS::Events::Rule")) == len(
        [each for each in functions() if isinstance(each.route, Schedule) and not each.route.federation]
    )


def test_a_function_that_waits_or_decodes_has_a_share() -> None:
    """Callers can occupy functions that wait for news, an upload or another server."""
    waits = re.compile(r"sync\.engine|event_stream|drafts\.v1\.stream|media\.(finding|federating|thumbnails)")
    names = {
        ".".join(path.with_suffix("").parts[1:])
        for path in FUNCTION_FILES
        if re.search(r"get_content\(|get_content_thumbnail\(|\bget_events\(|\bsync\(", path.read_text())
        and waits.search(path.read_text())
    }
    assert names <= set(modules.SHARES)
    assert len(names) >= 10


def test_no_secret_is_in_the_template(stack: Synthesised) -> None:
    text = json.dumps(stack.template)
    assert "signing-key" not in text or re.search(r"ed25519 a_\w+ [\w+/]{40}", text) is None
    (distribution,) = stack.properties("AWS::CloudFront::Distribution")
    for origin in distribution["DistributionConfig"]["Origins"]:
        if origin["Id"] in ("answers", "incoming"):  # the bucket is told nothing
            assert "OriginCustomHeaders" not in origin
            continue
        if origin["Id"] == QUEUES:  # SQS is told the queues' secret, by two headers
            secrets = [header["HeaderValue"] for header in origin["OriginCustomHeaders"]]
            assert secrets == [{"Fn::GetAtt": ["Secrets", "QueueSecret"]}] * 2
            continue
        (header,) = origin["OriginCustomHeaders"]
        assert header["HeaderName"] == "x-murmuration-viewer-secret"
        assert header["HeaderValue"] == {"Fn::GetAtt": ["Secrets", "ViewerSecret"]}


LONGEST_NAMES = {
    "AWS::ApiGateway::RestApi": ("Name", 128),
    "AWS::ApiGatewayV2::Api": ("Name", 128),
    "AWS::CloudFront::Function": ("Name", 64),
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
    "AWS::DynamoDB::Table": ("TableName", 255),
    "AWS::Events::Rule": ("Name", 64),
    "AWS::Lambda::Function": ("FunctionName", 64),
    "AWS::Lambda::LayerVersion": ("LayerName", 64),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::SNS::Topic": ("TopicName", 256),
    "AWS::SQS::Queue": ("QueueName", 80),
}
"""The property that has a resource's name, and how long AWS lets it be."""


def test_names_fit_with_the_longest_stage(stack_with: StackWith) -> None:
    stage = "a" * 16
    with pytest.raises(SettingsError):
        read_deployment({"server_name": "example.org", "stage": f"{stage}a"})
    stack = stack_with(
        **(TRY | {"stage": stage}), server_name=f"{'a' * 60}.{'b' * 60}.{'c' * 60}.example.org"
    )
    for kind, (member, most) in LONGEST_NAMES.items():
        names = [found[member] for found in stack.properties(kind) if member in found]
        assert names or kind == "AWS::ApiGateway::RestApi"
        for name in names:
            text = name["Fn::Sub"].replace("${AWS::Region}", "ap-northeast-3") if "Fn::Sub" in name else name
            assert len(text) <= most, text
    functions = [found["FunctionName"] for found in stack.properties("AWS::Lambda::Function")]
    assert len(functions) == len(set(functions)), "what is cut off would have told them apart"
    assert len(f"murmuration-{stage}-{edge_waits.QUEUE_PREFIX}") + 32 <= 80


# -- Costs and limits ------------------------------------------------------------------------------------


COSTS_WHILE_IDLE = {
    "AWS::EC2::VPC", "AWS::EC2::NatGateway", "AWS::EC2::Instance", "AWS::EC2::VPCEndpoint", "AWS::EC2::EIP",
    "AWS::KMS::Key", "AWS::SecretsManager::Secret", "AWS::WAFv2::WebACL", "AWS::Route53::HostedZone",
    "AWS::ElastiCache::CacheCluster", "AWS::RDS::DBInstance", "AWS::ECS::Service",
    "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::Kinesis::Stream",
    "AWS::Synthetics::Canary", "AWS::CloudTrail::Trail", "AWS::ACMPCA::CertificateAuthority",
}  # fmt: skip


def test_nothing_idle_costs(stack: Synthesised) -> None:
    types = {found["Type"] for found in stack.resources.values()}
    assert not types & COSTS_WHILE_IDLE
    for function in stack.properties("AWS::Lambda::Function"):
        assert not {"VpcConfig", "SnapStart", "KmsKeyArn"} & set(function)
    assert "ProvisionedConcurrency" not in json.dumps(stack.template)
    for table in stack.properties("AWS::DynamoDB::Table"):
        assert "SSESpecification" not in table  # with a key that AWS owns, which is free
        assert "ProvisionedThroughput" not in table
    assert len(stack.of_type("AWS::CloudWatch::Alarm")) <= 10
    assert len(stack.of_type("AWS::CloudWatch::Dashboard")) <= 3
    for api_stage in stack.properties("AWS::ApiGateway::Stage"):
        assert "CacheClusterEnabled" not in api_stage
        assert not any(setting.get("MetricsEnabled") for setting in api_stage["MethodSettings"])
    for api_stage in stack.properties("AWS::ApiGatewayV2::Stage"):
        assert "DetailedMetricsEnabled" not in api_stage.get("DefaultRouteSettings", {})


def test_each_method_takes_as_many_requests_as_a_companys_devices_send(
    stack: Synthesised, rest_stack: Synthesised
) -> None:
    """A stage's throttle is for each method. 2,000 people with three devices each wake once in 20 seconds."""
    parts = [part for part in PARTS if part != "Federation"]
    http = stack.of_type("AWS::ApiGatewayV2::Stage")
    throttles = [http[f"{part}HttpStage"]["Properties"]["DefaultRouteSettings"] for part in parts]
    stages = stack.of_type("AWS::ApiGateway::Stage") | rest_stack.of_type("AWS::ApiGateway::Stage")
    for name in ("ParkingRestStage", *(f"{part}RestStage" for part in parts)):
        (throttle,) = stages[name]["Properties"]["MethodSettings"]
        assert (throttle["HttpMethod"], throttle["ResourcePath"]) == ("*", "/*")
        throttles.append(throttle)
    for throttle in throttles:
        assert throttle["ThrottlingRateLimit"] >= 2 * 2_000 * 3 / 20
        assert throttle["ThrottlingRateLimit"] <= throttle["ThrottlingBurstLimit"] <= 5_000


def test_a_budget_tells_of_the_bill(stack: Synthesised, stack_with: StackWith) -> None:
    (found,) = stack.properties("AWS::Budgets::Budget")
    assert found["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    kinds = {each["Notification"]["NotificationType"] for each in found["NotificationsWithSubscribers"]}
    assert kinds == {"ACTUAL", "FORECASTED"}
    for each in found["NotificationsWithSubscribers"]:
        assert each["Subscribers"] == [{"Address": "operator@example.org", "SubscriptionType": "EMAIL"}]
    assert not stack_with(protected="true", monthly_budget="0").of_type("AWS::Budgets::Budget")


def test_who_waits_is_not_taken_for_slow(stack: Synthesised) -> None:
    """API Gateway counts the time for which a parked client waits as latency, so no alarm can use it."""
    (alarm,) = (found for found in stack.properties("AWS::CloudWatch::Alarm") if "ExtendedStatistic" in found)
    (dimension,) = alarm["Dimensions"]
    assert (alarm["MetricName"], dimension["Name"]) == ("Duration", "FunctionName")
    assert dimension["Value"] in physical_names().values()
    assert "Latency" not in json.dumps([*stack.properties("AWS::CloudWatch::Alarm")])
    (dashboard,) = stack.properties("AWS::CloudWatch::Dashboard")
    assert "Latency" not in json.dumps(dashboard)
    assert dimension["Value"] in json.dumps(dashboard)


# -- Permissions -----------------------------------------------------------------------------------------


def statements(stack: Synthesised) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in stack.of_type("AWS::IAM::Role").items():
        for policy in role["Properties"].get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def test_every_module_has_grants_and_every_grant_a_module() -> None:
    modules = {function.group for function in functions()}
    assert modules - set(GRANTS) == set(), "infra_shared/grants says nothing of these"
    assert set(GRANTS) - modules == set(), "infra_shared/grants speaks of modules that aren't there"


def test_each_module_has_a_role_of_its_own(stack: Synthesised) -> None:
    roles: dict[str, set[str]] = {}
    by_name = {found["FunctionName"]: found for found in stack.properties("AWS::Lambda::Function")}
    for function in functions():
        (role, _) = by_name[physical_names()[function.module]]["Role"]["Fn::GetAtt"]
        roles.setdefault(role, set()).add(function.group)
    assert all(len(modules) == 1 for modules in roles.values())


ALLOWED_WILDCARDS = (
    rf":function:{PREFIX}-[a-z0-9_]+-\*$",
    r"MediaBucket[^/]*/[a-z_-]+/\*$",
    rf":parameter/{PREFIX}/\*$",
    rf":parameter/{PREFIX}/identity-provider-\*$",
    rf":{PREFIX}-wake-(\d+-)?\*$",
    r"/ws/\*/@connections/\*$",
)
"""The functions of an API; objects of one kind; the maker of secrets; providers' secrets; queues; sockets."""


def test_wildcards_are_few_and_meant(stack: Synthesised) -> None:
    for role, statement in statements(stack):
        assert "*" not in json.dumps(statement["Action"]), f"{role} may do anything of a kind"
        for resource in statement["Resource"]:
            text = _flat(resource)
            if text == "*":
                assert statement["Action"] == ["dynamodb:ListStreams"], role
            elif "*" in text:
                assert any(re.search(allowed, text) for allowed in ALLOWED_WILDCARDS), f"{role}: {text}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        ((_, inner),) = value.items()
        return _flat(inner)
    if isinstance(value, list):
        return "".join(_flat(part) for part in value)
    return str(value)


def test_roles_name_resources_that_exist(stack: Synthesised) -> None:
    tables = {f"{PREFIX}-{table.name}" for table in TABLES}
    queues = {found["QueueName"] for found in stack.properties("AWS::SQS::Queue")}
    for role, statement in statements(stack):
        for resource in map(_flat, statement["Resource"]):
            if found := re.search(r":table/([^/]+)", resource):
                assert found[1] in tables, role
            if (found := re.search(r":sqs:.*:([^:]+)$", resource)) and not found[1].endswith("*"):
                assert found[1] in queues, role


# -- Synthesis -------------------------------------------------------------------------------------------


def test_the_same_functions_make_the_same_template(stack: Synthesised, tmp_path: Path) -> None:
    """They do so in another process, which would show a random order of sets and the like."""
    code = (
        "import sys; from pathlib import Path; from tests.infra.conftest import synthesise; "
        "print(synthesise(Path(sys.argv[1])).path)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    again = read(Path(process.stdout.splitlines()[-1]))
    assert again.path.read_text() == stack.path.read_text()
    assert json.dumps(again.nested) == json.dumps(stack.nested)


def test_a_changed_route_makes_a_new_deployment_of_the_api(
    stack: Synthesised, rest_stack: Synthesised
) -> None:
    from dataclasses import replace

    settings = Settings(server_name="example.org")
    moved = [
        replace(function, route=Http("POST", "/_matrix/client/{version}/moved"))
        if function.name == "client_server-get_capabilities"
        else function
        for function in functions()
    ]
    for document in (openapi, http_openapi):
        assert document(settings, functions()) == document(settings, functions())
        assert document(settings, moved) != document(settings, functions())
    for found, kind, names in (
        (stack, "AWS::ApiGatewayV2::Deployment", {f"{part}HttpDeployment" for part in PARTS}),
        (stack, "AWS::ApiGateway::Deployment", {"ParkingRestDeployment"}),
        (rest_stack, "AWS::ApiGateway::Deployment", {f"{part}RestDeployment" for part in PARTS}),
    ):
        bodies = {re.sub(r"[0-9a-f]{16}$", "", name) for name in found.of_type(kind)}
        assert bodies - {"SocketDeployment"} == names
