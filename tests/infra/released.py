"""A recorded digest of an earlier release's template, which upgrades must respect.

`python -m tests.infra.released TEMPLATE` writes the digest of a synthesised template (and of the nested ones
beside it) into `released.json`. With `--lasting` it adds what is new, and may never be replaced, to
`lasting.json`; what is there already stays as it was recorded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.infra.conftest import Synthesised, read

RECORDED = Path(__file__).with_name("released.json")
LASTING_RECORDED = Path(__file__).with_name("lasting.json")
NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Lambda::LayerVersion": "LayerName",
    "AWS::Events::Rule": "Name",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::CloudFront::Function": "Name",
}
"""The property that names a resource of a type: no two may have one name, in any stack of the account."""
FIXED = {
    "AWS::DynamoDB::Table": ("AttributeDefinitions", "KeySchema", "LocalSecondaryIndexes"),
    "AWS::SQS::Queue": ("FifoQueue",),
}
"""Properties whose change would replace the resource, with its data; new indexes' attributes too."""
LASTING = frozenset(
    (
        "AWS::CloudFormation::Stack",
        "AWS::CloudFront::Distribution",
        "AWS::DynamoDB::Table",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "Custom::Secrets",
    )
)
"""The types of what may never be replaced: it has data, an address, or somebody's confirmation. A nested
stack's replacement would make functions whose names are still taken."""
LASTING_API = "SocketApi"
"""The API to which clients are connected; CloudFront stands before all others."""


@dataclass(frozen=True)
class Resource:
    """A resource: its nested stack (empty: the first stack), type and name, and what may not change."""

    stack: str = ""
    kind: str = ""
    name: str = ""
    reserved: int = 0
    fixed: Any = None


def digest(found: Synthesised) -> dict[str, Resource]:
    """Return the resources of all stacks, by their logical IDs."""
    return {
        logical_id: _resource(stack.partition("NestedStack")[0], resource)
        for stack, template in [("", found.template), *found.nested.items()]
        for logical_id, resource in template["Resources"].items()
    }


def _resource(stack: str, resource: Mapping[str, Any]) -> Resource:
    kind, properties = resource["Type"], resource.get("Properties", {})
    name = properties.get(NAMES.get(kind, ""), "")
    fixed = {part: properties[part] for part in FIXED.get(kind, ()) if part in properties}
    return Resource(
        stack,
        kind,
        name if isinstance(name, str) else json.dumps(name, sort_keys=True),
        properties.get("ReservedConcurrentExecutions", 0),
        fixed or None,
    )


def lasting(found: Mapping[str, Resource]) -> dict[str, Resource]:
    """Return the resources of a digest that may never be replaced."""
    return {name: each for name, each in found.items() if each.kind in LASTING or name == LASTING_API}


def recorded(path: Path = RECORDED) -> dict[str, Resource]:
    """Return the digest of the earlier release, or another recorded one."""
    found = json.loads(path.read_text())
    return {name: Resource(**values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.infra.released")
    parser.add_argument("template", type=Path)
    parser.add_argument("--lasting", action="store_true", help="record what may never be replaced")
    args = parser.parse_args()
    found, path = digest(read(args.template)), RECORDED
    if args.lasting:
        found, path = lasting(found) | recorded(LASTING_RECORDED), LASTING_RECORDED
    lines = [
        f"{json.dumps(name)}: {json.dumps({key: value for key, value in vars(each).items() if value})}"
        for name, each in sorted(found.items())
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
