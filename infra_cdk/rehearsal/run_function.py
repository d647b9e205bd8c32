"""Runs a deployed function as Lambda would: `run_function.py HANDLER`, event on stdin, answer on stdout.

The function's own file and our code come from the deployment (PYTHONPATH). Only compiled dependencies are
this machine's, because the layer's are for arm64.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import uuid


class Context:
    """The invocation's context, as handlers get it."""

    aws_request_id = str(uuid.uuid4())
    function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    memory_limit_in_mb = "512"

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


def main() -> None:
    module, _, name = sys.argv[1].rpartition(".")
    answer_to = os.dup(1)
    os.dup2(2, 1)  # a function's output goes to its log
    handler = getattr(importlib.import_module(module.replace("/", ".")), name)
    answer = handler(json.load(sys.stdin), Context())
    with os.fdopen(answer_to, "w") as out:
        json.dump(answer, out)


if __name__ == "__main__":
    main()
