"""The simulated AWS, with the resource types that moto lacks: `python -m infra_cdk.rehearsal.server PORT`."""

from __future__ import annotations

import importlib
import os
import sys


def main() -> None:
    port = sys.argv[1]
    os.environ["MOTO_URL"] = f"http://localhost:{port}"

    from moto.server import main as serve

    from infra_cdk.rehearsal import corrections

    importlib.import_module("infra_cdk.rehearsal.models")
    corrections.install()
    serve(["-H", "127.0.0.1", "-p", port])


if __name__ == "__main__":
    main()
