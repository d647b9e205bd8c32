"""The layers' builder."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from infra_cdk import layers


def test_the_lock_has_all_that_is_shipped_at_the_versions_tested_here() -> None:
    lines = [line for line in layers.locked().splitlines() if "==" in line]
    found = {line.partition("==")[0]: line.partition("==")[2].split()[0] for line in lines}
    assert set(found) == set(layers.shipped())
    for name, locked in found.items():
        assert version(name) == locked, f"{name} is {locked} in the lock"
    assert {"botocore", "typing-extensions"} <= set(found)
    assert not {"pydantic", "boto3", "pynamodb", "moto"} & set(found)


def test_botocore_is_trimmed_and_still_makes_every_client(tmp_path: Path) -> None:
    import shutil

    import botocore
    from botocore.loaders import Loader
    from botocore.session import Session

    whole = Path(botocore.__file__).parent / "data"
    data = tmp_path / "data"
    for name in (*layers.SERVICES, "ec2", "lambda"):
        shutil.copytree(whole / name, data / name)
    for path in whole.glob("*.json"):
        shutil.copy(path, data)
    layers.trim_botocore(data)
    assert {path.name for path in data.iterdir() if path.is_dir()} == set(layers.SERVICES)
    assert sum(path.stat().st_size for path in data.rglob("*.json")) < 2_000_000
    session = Session()
    session.register_component("data_loader", Loader([str(data)], include_default_search_paths=False))
    for service in layers.SERVICES:
        extra = {"endpoint_url": "https://x.test"} if service == "apigatewaymanagementapi" else {}
        client = session.create_client(
            service, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b", **extra
        )
        whole_client = Session().create_client(service, region_name="eu-central-1", **extra)
        assert client.meta.endpoint_url == whole_client.meta.endpoint_url
        operations = set(client.meta.service_model.operation_names)
        assert operations == set(whole_client.meta.service_model.operation_names)
    with pytest.raises(Exception, match="lambda"):
        session.create_client("lambda", region_name="eu-central-1")
    (service_file,) = (data / "sesv2").rglob("service-2.json")
    assert "documentation" not in json.loads(service_file.read_text())["operations"]["SendEmail"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a package of two modules, no dependencies, and a note of what is installed."""
    source = tmp_path / "source" / "package"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("")
    (source / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(layers, "CODE", tmp_path / "source")
    monkeypatch.setattr(layers, "locked", lambda: "package==1\n")
    installed: list[str] = []

    def install(requirements: str, folder: Path, _interpreter: str | None) -> None:
        installed.append(requirements)
        folder.mkdir()

    monkeypatch.setattr(layers, "_install", install)
    return installed


def test_layers_are_built_when_their_inputs_change_and_only_then(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> Any:
        return layers.build(tmp_path / "build", say=lambda _: None)

    built = build()
    assert (built.code / "python" / "package" / "module.py").read_text() == "x = 1\n"
    first = built.code.stat().st_ino
    build()
    assert built.code.stat().st_ino == first
    assert small == ["package==1\n"]
    (tmp_path / "source" / "package" / "module.py").write_text("x = 2\n")
    build()
    assert (built.code / "python" / "package" / "module.py").read_text() == "x = 2\n"
    assert small == ["package==1\n"]
    monkeypatch.setattr(layers, "locked", lambda: "package==2\n")
    build()
    assert small == ["package==1\n", "package==2\n"]


def test_modules_are_compiled_where_the_runtimes_python_is(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "find_interpreter", lambda: sys.executable)
    said: list[str] = []
    built = layers.build(tmp_path / "build", say=said.append)
    (compiled,) = (built.code / "python" / "package" / "__pycache__").glob("module.*.pyc")
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", "valid whatever the source's time is"
    assert said == []


def test_what_it_costs_to_lack_the_runtimes_python_is_said(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "find_interpreter", lambda: None)
    said: list[str] = []
    layers.build(tmp_path / "build", say=said.append)
    assert len(said) == 1
    assert "2.4 times as long" in said[0]
