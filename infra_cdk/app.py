"""The CDK app, started with `python -m infra_cdk.app`. Prints how many of its 500 resources the first
stack has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aws_cdk import App

from infra_cdk.layers import BUILD, Layers
from infra_cdk.parts.functions import DeploymentError
from infra_cdk.settings import SettingsError, read_settings
from infra_cdk.stack import make_stack
from murmuration.endpoint import discover


def make_app(context: Mapping[str, object] | None = None, **options: Any) -> App:
    """Return an app without the checks that the tests make already; they would slow down each synthesis by
    seconds.

    Its templates aren't indented: indentation would add a third to their size, and each may have 1 MB.
    """
    compact = {"@aws-cdk/core:suppressTemplateIndentation": True, **(context or {})}
    return App(builtin_cloud_formation_validation=False, tree_metadata=False, context=compact, **options)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra_cdk.app")
    parser.add_argument("--layers", type=Path, default=BUILD, help="where the built layers are")
    built = parser.parse_args(arguments).layers
    app = make_app()
    try:
        settings = read_settings(app.node.get_all_context())
        stack = make_stack(app, settings, discover(), Layers(built / "code", built / "dependencies"))
    except (SettingsError, DeploymentError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    template = app.synth().get_stack_by_name(stack.stack_name).template
    print(f"{stack.stack_name}: {len(template['Resources'])} resources", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
