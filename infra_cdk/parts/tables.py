"""The DynamoDB tables, as `murmuration.storage.tables` defines them.

They are billed on demand, encrypted with keys that AWS owns (a customer-managed key costs a dollar a month),
and kept when the stack is deleted. Tables whose items all expire fill again by normal use, so only the other
tables can be restored to a point in time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from aws_cdk import CfnDeletionPolicy, CfnResource, Stack
from aws_cdk import aws_dynamodb as dynamodb

from infra_cdk.names import logical_id
from infra_cdk.settings import Settings
from murmuration.storage.tables import TABLES, Table


def make_tables(stack: Stack, settings: Settings) -> Mapping[str, dynamodb.CfnTable]:
    """Make the tables, and return them by their logical names.

    Those with indexes are made one after the other. DynamoDB refuses to make several of them at once, and a
    deployment would fail for it.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html
    """
    made = {table.name: _make_table(stack, settings, table) for table in TABLES}
    for before, after in itertools.pairwise(made[table.name] for table in TABLES if table.indexes):
        after.add_resource_dependency(before)
    return made


def _make_table(stack: Stack, settings: Settings, table: Table) -> dynamodb.CfnTable:
    request = table.create_request(f"{settings.prefix}-{table.name}")
    made = dynamodb.CfnTable(
        stack,
        logical_id("table", table.name),
        table_name=request["TableName"],
        billing_mode=request["BillingMode"],
        key_schema=_keys(request["KeySchema"]),
        attribute_definitions=[
            dynamodb.CfnTable.AttributeDefinitionProperty(
                attribute_name=attribute["AttributeName"], attribute_type=attribute["AttributeType"]
            )
            for attribute in request["AttributeDefinitions"]
        ],
        local_secondary_indexes=[
            dynamodb.CfnTable.LocalSecondaryIndexProperty(
                index_name=index["IndexName"],
                key_schema=_keys(index["KeySchema"]),
                projection=dynamodb.CfnTable.ProjectionProperty(
                    projection_type=index["Projection"]["ProjectionType"]
                ),
            )
            for index in request.get("LocalSecondaryIndexes", ())
        ]
        or None,
        deletion_protection_enabled=settings.protected,
    )
    if table.streams:
        made.stream_specification = dynamodb.CfnTable.StreamSpecificationProperty(
            stream_view_type=request["StreamSpecification"]["StreamViewType"]
        )
    if table.ttl:
        made.time_to_live_specification = dynamodb.CfnTable.TimeToLiveSpecificationProperty(
            enabled=True, attribute_name=table.ttl
        )
    if table.is_backed_up:
        made.point_in_time_recovery_specification = (
            dynamodb.CfnTable.PointInTimeRecoverySpecificationProperty(point_in_time_recovery_enabled=True)
        )
    keep(made, settings)
    return made


def _keys(schema: list[dict[str, str]]) -> list[dynamodb.CfnTable.KeySchemaProperty]:
    return [
        dynamodb.CfnTable.KeySchemaProperty(attribute_name=key["AttributeName"], key_type=key["KeyType"])
        for key in schema
    ]


def keep(resource: CfnResource, settings: Settings) -> None:
    """Keep a resource with users' data when the stack is deleted, unless the deployment is ephemeral.

    If the deployment that creates it fails, the new, still empty resource is deleted. If it were kept, the
    next attempt couldn't create a table of the same name.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    """
    options = resource.cfn_options
    if settings.ephemeral:
        options.deletion_policy = options.update_replace_policy = CfnDeletionPolicy.DELETE
    else:
        options.deletion_policy = CfnDeletionPolicy.RETAIN_EXCEPT_ON_CREATE
        options.update_replace_policy = CfnDeletionPolicy.RETAIN
