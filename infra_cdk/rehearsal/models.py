"""The resource types that moto's CloudFormation lacks, or creates without half of their properties.

Importing this module registers them: moto finds the subclasses of its CloudFormationModel, and the last one
defined for a type is used. If moto simulates the service, the resource is really created there. The others
only store their properties and return their attributes, which is all that the stack needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

from moto.apigateway.models import apigateway_backends
from moto.apigatewayv2.models import apigatewayv2_backends
from moto.awslambda.utils import get_backend as lambda_backend
from moto.core.common_models import CloudFormationModel
from moto.ssm.models import ssm_backends

Properties = Mapping[str, Any]


class Kept:
    """A resource that only stores its properties; also the base class of resources that do more."""

    kind: ClassVar[str]
    name_property: ClassVar[str] = ""

    def __init__(self, name: str, properties: Properties, account: str, region: str) -> None:
        self.name = name
        self.properties = properties
        self.account = account
        self.region = region

    def create(self) -> None:
        """Create the resource."""

    def change(self) -> None:
        """Update the resource to the current `properties`."""

    def delete(self, _account: str, _region: str) -> None:
        """Delete the resource."""

    @property
    def physical_resource_id(self) -> str:
        return self.name

    def attribute(self, attribute: str) -> str:
        return f"arn:aws:test:{self.region}:{self.account}:{self.name}/{attribute}"

    # -- What moto calls ---------------------------------------------------------------------------------

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.kind

    @classmethod
    def cloudformation_name_type(cls) -> str:
        return cls.name_property

    @classmethod
    def has_cfn_attr(cls, _attr: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return self.attribute(attribute_name)

    def is_created(self) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Properties, account_id: str, region_name: str, **_: Any
    ) -> Kept:
        made = cls(resource_name, cloudformation_json["Properties"], account_id, region_name)
        made.create()
        return made

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Kept,
        new_resource_name: str,  # noqa: ARG003 - moto's signature
        cloudformation_json: Properties,
        account_id: str,  # noqa: ARG003
        region_name: str,  # noqa: ARG003
    ) -> Kept:
        original_resource.properties = cloudformation_json["Properties"]
        original_resource.change()
        return original_resource


for _kind in (
    "AWS::Budgets::Budget",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudFront::CachePolicy",
    "AWS::CloudFront::Function",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
):
    type(_kind.replace("::", ""), (Kept, CloudFormationModel), {"kind": _kind})


class Distribution(Kept, CloudFormationModel):
    kind = "AWS::CloudFront::Distribution"

    def attribute(self, attribute: str) -> str:
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:13]
        return f"d{digest}.cloudfront.net" if attribute == "DomainName" else super().attribute(attribute)


# -- Failing on purpose ----------------------------------------------------------------------------------

REFUSED = "/rehearsal/refused-function"
"""The parameter of SSM that names the function which can't be made or changed, to rehearse a failure."""


class Refused(Exception):
    """The resource wasn't made or changed, on purpose: the rehearsal tests a deployment that fails."""


def _refuse(name: str, account: str, region: str) -> None:
    """Raise Refused for the function that is to fail."""
    found = ssm_backends[account][region].get_parameters([REFUSED])
    if REFUSED in found and str(found[REFUSED].value) == name:
        raise Refused(f"{name} was refused, as the rehearsal asked for")


# -- Functions -------------------------------------------------------------------------------------------


class AlreadyThere(Exception):
    """AWS refuses to make a second function with the same name. moto would replace the first."""


class LayerVersion(Kept, CloudFormationModel):
    """A layer's version that `Ref` can refer to; moto's own has no such name."""

    kind = "AWS::Lambda::LayerVersion"
    name_property = "LayerName"

    def create(self) -> None:
        self.version = lambda_backend(self.account, self.region).publish_layer_version(dict(self.properties))

    def change(self) -> None:
        """Publish a new version; the old one stays for functions that still use it."""
        self.create()

    def delete(self, _account: str, _region: str) -> None:
        lambda_backend(self.account, self.region).delete_layer_version(
            self.properties["LayerName"], str(self.version.version)
        )

    @property
    def physical_resource_id(self) -> str:
        return str(self.version.arn)


class Function(Kept, CloudFormationModel):
    """A function with its layers, architecture and logging, which moto's own ignores."""

    kind = "AWS::Lambda::Function"
    name_property = "FunctionName"

    def create(self) -> None:
        _refuse(self.name, self.account, self.region)
        backend = lambda_backend(self.account, self.region)
        if any(found.function_name == self.name for found in backend.list_functions()):
            raise AlreadyThere(f"there is a function {self.name} already")
        self.function = backend.create_function(dict(self.properties))

    def change(self) -> None:
        _refuse(self.name, self.account, self.region)
        self.function.update_configuration(dict(self.properties))
        self.function.update_function_code(dict(self.properties["Code"]))

    def delete(self, _account: str, _region: str) -> None:
        lambda_backend(self.account, self.region).delete_function(self.name)

    def attribute(self, _attribute: str) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"


# -- REST APIs -------------------------------------------------------------------------------------------

ANY = "x-amazon-apigateway-any-method"


class RestApi(Kept, CloudFormationModel):
    """A REST API made from its OpenAPI body, which moto's own ignores."""

    kind = "AWS::ApiGateway::RestApi"

    def create(self) -> None:
        backend = apigateway_backends[self.account][self.region]
        self.api = backend.create_rest_api(name=self.properties["Name"], description="")
        self.change()

    def change(self) -> None:
        body = dict(self.properties["Body"])
        body["paths"] = {
            path: {"any" if method == ANY else method: operation for method, operation in methods.items()}
            for path, methods in body["paths"].items()
            if path != "/"
        }
        backend = apigateway_backends[self.account][self.region]
        backend.put_rest_api(self.api.id, body, fail_on_warnings=False, mode="overwrite")

    def delete(self, _account: str, _region: str) -> None:
        apigateway_backends[self.account][self.region].delete_rest_api(self.api.id)

    @property
    def physical_resource_id(self) -> str:
        return str(self.api.id)


class RestDeployment(Kept, CloudFormationModel):
    """A deployment of a REST API. Deleting it does nothing: in moto it ends with its API."""

    kind = "AWS::ApiGateway::Deployment"

    def create(self) -> None:
        api = apigateway_backends[self.account][self.region].get_rest_api(self.properties["RestApiId"])
        self.deployment = api.create_deployment("", self.properties["Description"])

    @property
    def physical_resource_id(self) -> str:
        return str(self.deployment.id)


class RestStage(Kept, CloudFormationModel):
    kind = "AWS::ApiGateway::Stage"
    name_property = "StageName"

    def create(self) -> None:
        apigateway_backends[self.account][self.region].create_stage(
            self.properties["RestApiId"], self.properties["StageName"], self.properties["DeploymentId"]
        )

    def change(self) -> None:
        stage = apigateway_backends[self.account][self.region].get_stage(
            self.properties["RestApiId"], self.properties["StageName"]
        )
        stage.deployment_id = self.properties["DeploymentId"]


# -- HTTP and WebSocket APIs -----------------------------------------------------------------------------


class Api(Kept, CloudFormationModel):
    """A WebSocket API, or an HTTP API made from its body. moto's own import supports neither references nor
    ANY.
    """

    kind = "AWS::ApiGatewayV2::Api"

    def create(self) -> None:
        body = self.properties.get("Body")
        self.api = apigatewayv2_backends[self.account][self.region].create_api(
            api_key_selection_expression="",
            cors_configuration=None,  # type: ignore[arg-type]  # moto answers with it as it is
            description="",
            disable_schema_validation="",
            disable_execute_api_endpoint="",
            name=body["info"]["title"] if body else self.properties["Name"],
            protocol_type="HTTP" if body else self.properties["ProtocolType"],
            route_selection_expression=self.properties.get("RouteSelectionExpression", ""),
            tags={},
            version="",
        )
        self.change()

    def change(self) -> None:
        body = self.properties.get("Body")
        if body is None:
            return
        for route in [*self.api.routes]:
            self.api.delete_route(route)
        made: dict[str, str] = {}
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                reference = operation["x-amazon-apigateway-integration"]["$ref"]
                if reference not in made:
                    made[reference] = self._integrate(body, reference)
                self.api.create_route(
                    api_key_required=False,
                    authorization_scopes=[],
                    route_key=f"{'ANY' if method == ANY else method.upper()} {path}",
                    target=f"integrations/{made[reference]}",
                )

    def _integrate(self, body: Properties, reference: str) -> str:
        found = body["components"]["x-amazon-apigateway-integrations"][reference.rpartition("/")[2]]
        integration = self.api.create_integration(
            connection_type="INTERNET",
            description="",
            integration_method=found["httpMethod"],
            integration_type=found["type"],
            integration_uri=found["uri"],
            credentials_arn=found["credentials"],
            payload_format_version=found["payloadFormatVersion"],
        )
        return str(integration.id)

    def delete(self, _account: str, _region: str) -> None:
        apigatewayv2_backends[self.account][self.region].delete_api(self.api.api_id)

    @property
    def physical_resource_id(self) -> str:
        return str(self.api.api_id)


class _PartOfSocketApi(Kept):
    def api(self) -> Any:
        return apigatewayv2_backends[self.account][self.region].get_api(self.properties["ApiId"])


class SocketIntegration(_PartOfSocketApi, CloudFormationModel):
    kind = "AWS::ApiGatewayV2::Integration"

    def create(self) -> None:
        self.integration = self.api().create_integration(
            connection_type="INTERNET",
            description="",
            integration_method=self.properties.get("IntegrationMethod"),
            integration_type=self.properties["IntegrationType"],
            integration_uri=self.properties["IntegrationUri"],
            credentials_arn=self.properties["CredentialsArn"],
        )

    @property
    def physical_resource_id(self) -> str:
        return str(self.integration.id)


class SocketRoute(_PartOfSocketApi, CloudFormationModel):
    kind = "AWS::ApiGatewayV2::Route"

    def create(self) -> None:
        self.api().create_route(
            api_key_required=False,
            authorization_scopes=[],
            route_key=self.properties["RouteKey"],
            target=self.properties["Target"],
        )


class HttpDeployment(_PartOfSocketApi, CloudFormationModel):
    """A deployment of an HTTP API. moto has none for these, so it is only a name."""

    kind = "AWS::ApiGatewayV2::Deployment"


class SocketStage(_PartOfSocketApi, CloudFormationModel):
    kind = "AWS::ApiGatewayV2::Stage"

    def create(self) -> None:
        self.api().create_stage({"stageName": self.properties["StageName"]})
