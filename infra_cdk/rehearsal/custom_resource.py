"""Custom resources in moto: calls the deployed function as CloudFormation does, and waits for its answer.

moto would run the function in Docker without waiting for it, so resources that need its answer wouldn't get
one.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from moto.awslambda.utils import get_backend as lambda_backend
from moto.core.common_models import CloudFormationModel

from infra_cdk.rehearsal.invocation import invoke
from infra_cdk.rehearsal.models import Kept, Properties


class CustomResourceFailed(Exception):
    """The function answered FAILED. The message is its reason."""


class CustomResource(Kept, CloudFormationModel):
    kind = "AWS::CloudFormation::CustomResource"

    def create(self) -> None:
        self._call("Create")

    def change(self) -> None:
        self._call("Update")

    def delete(self, _account: str, _region: str) -> None:
        self._call("Delete")

    def attribute(self, attribute: str) -> str:
        return str(self.data[attribute])

    def _call(self, request: str) -> None:
        if request == "Create":
            backend = lambda_backend(self.account, self.region)
            self.function = backend.get_function(self.properties["ServiceToken"])
        answer = _answered(
            self.function,
            {
                "RequestType": request,
                "StackId": "rehearsal",
                "RequestId": str(uuid.uuid4()),
                "LogicalResourceId": "Secrets",
                "ResourceProperties": dict(self.properties),
            },
        )
        if answer["Status"] != "SUCCESS":
            raise CustomResourceFailed(answer["Reason"])
        self.data: Properties = answer["Data"]


def _answered(function: Any, event: dict[str, Any]) -> dict[str, Any]:
    """Return the answer that the function sends to the response URL of its event."""
    answers: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "AWS_ENDPOINT_URL": os.environ["MOTO_URL"],
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_DEFAULT_REGION": function.region,
        }
        url = f"http://127.0.0.1:{server.server_port}/"
        event = {**event, "ResponseURL": url}
        invoke(function.code_bytes, [], function.handler, environment, event, below=Path(folder))
        server.shutdown()
    return answers[0]
