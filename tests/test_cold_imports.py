"""What functions import: each module counts in every cold start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOT = (
    "functions.client_server.room_send.send_message",
    "functions.client_server.sync.sync",
    "functions.client_server.typing.set_typing",
    "functions.client_server.receipts.post_receipt",
    "functions.workers.streams.room_log",
    "functions.workers.streams.streams",
)
HEAVY = {
    "pydantic", "boto3", "pynamodb", "aws_lambda_powertools", "PIL", "nacl", "murmuration.endpoint.discovery",
    "asyncio", "http.client", "xml", "importlib.metadata",
}  # fmt: skip
BY_FIRST_CALL = {"http", "http.client", "email", "uuid", "platform", "ssl", "botocore"}
"""What a call of DynamoDB in the clear does without; one over TLS needs `ssl`."""
NEVER = {"boto3", "pynamodb", "PIL", "aws_lambda_powertools", "botocore", "murmuration.endpoint.discovery"}
"""What no endpoint may import before it is called: the clients are made on first use."""


def imported(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    variables = {"PYTHONPATH": f"{ROOT / 'layers/murmuration/python'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", HOT)
def test_the_first_call_imports_nothing_heavy(module: str) -> None:
    assert not imported(module, "murmuration.aws.wire") & BY_FIRST_CALL


@pytest.mark.parametrize("module", HOT)
def test_hot_functions_import_nothing_heavy(module: str) -> None:
    assert not imported(module) & HEAVY


def test_no_function_imports_what_only_some_calls_need() -> None:
    from murmuration.endpoint import discover

    assert not imported(*(function.module for function in discover())) & NEVER


def test_no_function_imports_what_only_the_type_checker_needs() -> None:
    """Each TypedDict takes time to make."""
    from murmuration.endpoint import discover

    loaded = imported(*(function.module for function in discover()))
    assert not [module for module in loaded if module.endswith(".json_types")]
