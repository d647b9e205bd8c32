"""Builds the two layers into `build/layers`: our code, and its dependencies, for Lambda's Python on arm64.

`python -m infra_cdk.layers` does this; the CDK runs it before each synthesis (`build` in cdk.json). A layer
whose inputs haven't changed isn't built again.

The layers are made for short cold starts. If an interpreter of the runtime's version is installed, modules
are compiled in advance. Imports that aren't needed at once are deferred (`quickening`). The layer has only
those services of botocore that are used, without documentation, because botocore searches through all
services that it finds: the runtime's own copy has 400.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra_cdk.quickening import add_support, quicken

ROOT = Path(__file__).resolve().parent.parent
CODE = ROOT / "layers/murmuration/python"
LOCK = ROOT / "requirements.lock"
BUILD = ROOT / "build/layers"
QUICKENING = ROOT / "infra_cdk/quickening"

PYTHON = "3.14"
"""The Python version of Lambda. Everything that depends on it reads it here. docs/deploying.md explains how
to try another one."""
PLATFORMS = (
    "manylinux_2_34_aarch64",
    "manylinux_2_28_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)
"""Wheels for these run on Amazon Linux 2023 (glibc 2.34) on arm64."""

RUNTIME: Mapping[str, str] = {
    "extra": "",
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{PYTHON}.0",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
"""The values of requirements' markers on Lambda."""

NOT_SHIPPED = ("boto3", "pynamodb")
"""Dependencies that functions never import: boto3 is part of the runtime, PynamoDB is for defining tables."""
SHIPPED_TOO = ("botocore",)
"""Packages that the runtime has, and that we bring all the same, trimmed and pinned."""
SERVICES = ("apigatewaymanagementapi", "s3", "sesv2")
"""The services that the functions call with botocore."""

QUICKENED = ("botocore", "urllib3")
"""Dependencies that every function imports, and that import much more than a function needs."""
MAY_WAIT = (
    "botocore.compress", "botocore.discovery", "botocore.docs", "botocore.eventstream",
    "botocore.monitoring", "botocore.paginate", "botocore.plugin", "botocore.retries.adaptive",
    "botocore.signers", "botocore.tokens", "botocore.translate", "botocore.vendored.requests",
    "botocore.waiter", "calendar", "configparser", "dateutil",
    "email.message", "getpass", "gzip", "importlib.metadata", "inspect", "ipaddress", "jmespath", "mimetypes",
    "pathlib", "platform", "shlex", "shutil", "signal", "subprocess", "tempfile", "urllib.request",
    "urllib3.contrib", "uuid", "xml",
)  # fmt: skip
"""The modules that they import at the top, and that only a few of their functions need."""

NO_PYTHON = (
    f"warning: no Python {PYTHON} on this machine (looked for python{PYTHON}, and asked uv), so the layers "
    "are not compiled ahead: each cold start compiles what it imports, which takes 2.4 times as long."
)


@dataclass(frozen=True)
class Layers:
    """The folders of the built layers."""

    code: Path
    dependencies: Path


def build(into: Path = BUILD, *, say: Callable[[str], None] = print) -> Layers:
    """Build the layers whose inputs have changed, and return their folders. Raises CalledProcessError if pip
    fails.
    """
    interpreter = find_interpreter()
    if interpreter is None:
        say(NO_PYTHON)
    compiled = f"compiled {interpreter}" if interpreter else "sources"
    recipe = b"".join(path.read_bytes() for path in (Path(__file__), *sorted(QUICKENING.glob("*.py"))))
    requirements = locked()
    dependencies = _cached(
        into / "dependencies",
        _digest(recipe, requirements.encode(), compiled.encode()),
        lambda folder: _install(requirements, folder, interpreter),
    )
    code = _cached(
        into / "code",
        _digest(recipe, compiled.encode(), *_contents(CODE)),
        lambda folder: _copy_code(folder, interpreter),
    )
    return Layers(code, dependencies)


def find_interpreter(version: str = PYTHON) -> str | None:
    """Return the path of an interpreter of the runtime's version; None if there is none."""
    if found := shutil.which(f"python{version}"):
        return found
    if shutil.which("uv"):
        asked = subprocess.run(  # noqa: S603
            ["uv", "python", "find", "--no-python-downloads", version],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return None


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _contents(folder: Path) -> Iterable[bytes]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        yield str(path.relative_to(folder)).encode()
        yield path.read_bytes()


def _cached(folder: Path, digest: str, make: Callable[[Path], None]) -> Path:
    """Return `folder`, built again if its inputs (`digest`) changed. It is built in a second folder, so a
    failure keeps the old one.
    """
    mark = folder.with_suffix(".digest")
    if folder.is_dir() and mark.exists() and mark.read_text() == digest:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        fresh = Path(aside) / "layer"
        make(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    mark.write_text(digest)
    return folder


# -- Our code --------------------------------------------------------------------------------------------


def _copy_code(folder: Path, interpreter: str | None) -> None:
    copy_code(folder / "python")
    _compile(folder, interpreter)


def copy_code(site: Path) -> None:
    """Copy our package into `site`, quickened."""
    shutil.copytree(CODE, site, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), dirs_exist_ok=True)
    quicken(site / "murmuration", ())
    add_support(site)


def _compile(folder: Path, interpreter: str | None) -> None:
    """Compile all modules so that they are valid whatever the times of their sources: in a layer these are
    the times of unpacking.
    """
    if interpreter:
        subprocess.run(  # noqa: S603
            [interpreter, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash",
             "-s", str(folder), "-p", "/opt", str(folder)],
            check=True, env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip


# -- Dependencies ----------------------------------------------------------------------------------------


def _install(requirements: str, folder: Path, interpreter: str | None) -> None:
    site = folder / "python"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write(requirements)
        listed.flush()
        _pip("install", "--quiet", "--target", str(site), "--no-deps", "--no-compile", "--require-hashes",
             "--requirement", listed.name, *_for_the_runtime())  # fmt: skip
    shutil.rmtree(site / "bin", ignore_errors=True)
    for tests in [path for path in site.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests)
    trim(site)
    _compile(folder, interpreter)


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)  # noqa: S603


def _for_the_runtime() -> list[str]:
    platforms = [option for platform in PLATFORMS for option in ("--platform", platform)]
    return ["--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp", *platforms]


def trim(site: Path) -> None:
    """Remove everything from the installed packages that functions don't need."""
    trim_botocore(site / "botocore" / "data")
    for name in QUICKENED:
        quicken(site / name, MAY_WAIT)


def trim_botocore(data: Path) -> None:
    """Keep only the services that are used, in their newest version, with only the parts that a
    client reads.
    """
    for entry in list(data.iterdir()):
        if not entry.is_dir():
            continue
        if entry.name not in SERVICES:
            shutil.rmtree(entry)
            continue
        *old, newest = sorted(entry.iterdir())
        for version in old:
            shutil.rmtree(version)
        for path in list(newest.iterdir()):
            _trim_file(path)
    endpoints = json.loads((data / "endpoints.json").read_text())
    wanted = {*SERVICES, "email", "execute-api"}
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in sorted(wanted & services.keys())}
    (data / "endpoints.json").write_text(_compact(endpoints))


def _trim_file(path: Path) -> None:
    """Rewrite a service's file, unpacked and without documentation. Examples and waiters are deleted."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    path.unlink()
    if not path.name.startswith(("examples", "waiters")):
        trimmed = _undocumented(json.loads(content))
        for parameter in trimmed.get("clientContextParams", {}).values():
            parameter["documentation"] = ""  # botocore requires it
        path.with_name(path.name.removesuffix(".gz")).write_text(_compact(trimmed))


def _undocumented(value: object) -> Any:
    if isinstance(value, dict):
        return {
            name: _undocumented(found)
            for name, found in value.items()
            if not (name == "documentation" and isinstance(found, str))
        }
    return [_undocumented(element) for element in value] if isinstance(value, list) else value


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# -- The lock --------------------------------------------------------------------------------------------


def shipped() -> list[str]:
    """Return the names of the layer's packages: the dependencies in pyproject.toml, and their dependencies on
    the runtime.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text).name for text in project["dependencies"]]
    wanted = [name for name in wanted if name not in NOT_SHIPPED] + list(SHIPPED_TOO)
    found: dict[str, None] = {}
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name not in found:
            found[name] = None
            needed = [Requirement(text) for text in importlib.metadata.requires(name) or ()]
            wanted += [
                need.name for need in needed if need.marker is None or need.marker.evaluate(dict(RUNTIME))
            ]
    return sorted(found)


def locked() -> str:
    """Return the part of the lock file for the layer. Raises LookupError for a package that it lacks."""
    entries: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", LOCK.read_text()):
        if match := re.match(r"([A-Za-z0-9._-]+)==", entry):
            lines = [line for line in entry.splitlines() if not line.lstrip().startswith("#")]
            entries[canonicalize_name(match[1])] = "\n".join(lines)
    names = shipped()
    if missing := [name for name in names if name not in entries]:
        raise LookupError(f"requirements.lock lacks {', '.join(missing)}: run `make lock`")
    return "\n".join(entries[name] for name in names) + "\n"


def main() -> None:
    layers = build(say=lambda line: print(line, file=sys.stderr))  # noqa: T201 - a command's output
    print(f"{layers.code} and {layers.dependencies} are up to date")  # noqa: T201


if __name__ == "__main__":
    main()
