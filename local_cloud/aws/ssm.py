"""SSM's Parameter Store, kept in the local cloud's SQLite file."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local_cloud.aws.patch import AwsError, Operation
from local_cloud.names import ACCOUNT, REGION
from local_cloud.store import Store

if TYPE_CHECKING:
    from local_cloud.aws.shapes import ParameterName, ParameterNames, ParametersByPath, Parsed, PutParameter

_COLUMNS = "name, type, value, version, modified"


class Ssm:
    """The parameters. Secure strings are stored in plain text: only its owner can read the data folder."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> dict[str, Operation]:
        return {
            "PutParameter": self.put_parameter,
            "GetParameter": self.get_parameter,
            "GetParameters": self.get_parameters,
            "GetParametersByPath": self.get_parameters_by_path,
            "DeleteParameter": self.delete_parameter,
        }

    def put_parameter(self, params: PutParameter) -> Parsed:
        name = params["Name"]
        with self._store.transaction():
            found = self._store.row("SELECT version, type FROM parameters WHERE name = ?", (name,))
            if found and not params.get("Overwrite"):
                raise AwsError("ParameterAlreadyExists", "The parameter already exists.")
            version = found[0] + 1 if found else 1
            kind = params.get("Type") or (found[1] if found else "String")
            self._store.write(
                "INSERT OR REPLACE INTO parameters VALUES (?, ?, ?, ?, ?)",
                (name, kind, params["Value"], version, time.time()),
            )
        return {"Version": version, "Tier": "Standard"}

    def get_parameter(self, params: ParameterName) -> Parsed:
        found = self._find(params["Name"])
        if found is None:
            raise AwsError("ParameterNotFound", f"Parameter {params['Name']} not found.")
        return {"Parameter": found}

    def get_parameters(self, params: ParameterNames) -> Parsed:
        found = {name: self._find(name) for name in params["Names"]}
        return {
            "Parameters": [parameter for parameter in found.values() if parameter is not None],
            "InvalidParameters": [name for name, parameter in found.items() if parameter is None],
        }

    def get_parameters_by_path(self, params: ParametersByPath) -> Parsed:
        path = params["Path"].rstrip("/") + "/"
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM parameters ORDER BY name")  # noqa: S608 - a constant
        return {
            "Parameters": [
                _parameter(row)
                for row in rows
                if row[0].startswith(path) and (params.get("Recursive") or "/" not in row[0][len(path) :])
            ]
        }

    def delete_parameter(self, params: ParameterName) -> Parsed:
        if not self._store.write("DELETE FROM parameters WHERE name = ?", (params["Name"],)):
            raise AwsError("ParameterNotFound", f"Parameter {params['Name']} not found.")
        return {}

    def _find(self, name: str) -> Parsed | None:
        row = self._store.row(f"SELECT {_COLUMNS} FROM parameters WHERE name = ?", (name,))  # noqa: S608 - a constant
        return _parameter(row) if row else None


def _parameter(row: tuple[Any, ...]) -> Parsed:
    name, kind, value, version, modified = row
    return {
        "Name": name,
        "Type": kind,
        "Value": value,
        "Version": version,
        "LastModifiedDate": datetime.fromtimestamp(modified, UTC),
        "ARN": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.lstrip('/')}",
        "DataType": "text",
    }
