"""The deployment, synthesised once for all tests of it, by layers that stand in for the real ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra_cdk.layers import Layers

SETTINGS = {
    "server_name": "example.org",
    "domain": "matrix.example.org",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555",
    "mail_sender": "noreply@example.org",
    "alarm_email": "operator@example.org",
    "turn_uris": "turn:turn.example.org",
}


@dataclass(frozen=True)
class Synthesised:
    """A synthesised stack. `path` is the template's, `nested` has the templates of the stacks within it."""

    template: Mapping[str, Any]
    path: Path
    nested: tuple[Mapping[str, Any], ...] = ()

    @property
    def resources(self) -> dict[str, Any]:
        """All resources by their logical IDs, those of the nested stacks too."""
        return {
            name: found
            for template in (self.template, *self.nested)
            for name, found in template["Resources"].items()
        }

    def of_type(self, kind: str) -> dict[str, Any]:
        """The resources of a type, by their logical IDs."""
        return {name: found for name, found in self.resources.items() if found["Type"] == kind}

    def properties(self, kind: str) -> list[dict[str, Any]]:
        return [found["Properties"] for found in self.of_type(kind).values()]


def make_layers(folder: Path) -> Layers:
    """Two layers of one file each: what is in them is `infra_cdk.layers`' concern."""
    for name in ("code", "dependencies"):
        (folder / name / "python").mkdir(parents=True)
        (folder / name / "python" / f"{name}.py").write_text("")
    return Layers(folder / "code", folder / "dependencies")


def synthesise(folder: Path, **settings: Any) -> Synthesised:
    """Synthesise with SETTINGS and `settings` into a folder."""
    from infra_cdk.app import make_app
    from infra_cdk.settings import read_settings
    from infra_cdk.stack import make_stack
    from murmuration.endpoint import discover

    app = make_app(outdir=str(folder / "out"))
    stack = make_stack(app, read_settings(SETTINGS | settings), discover(), make_layers(folder / "layers"))
    assembly = app.synth()
    found = assembly.get_stack_by_name(stack.stack_name)
    path = Path(found.template_full_path)
    nested = sorted(path.parent.glob("*.nested.template.json"))
    return Synthesised(found.template, path, tuple(json.loads(each.read_text()) for each in nested))


@pytest.fixture(scope="session", autouse=True)
def _quiet_cdk() -> None:
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    return synthesise(tmp_path_factory.mktemp("stack"))
