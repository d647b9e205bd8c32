"""Zip files that are uploaded to S3 before the deployment. The same content always makes the same zip."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import App, FileAssetPackaging, Stack

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def zip_files(path: Path, files: Mapping[str, Path]) -> None:
    """Write the zip `path` with these files, by their names in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name].read_bytes())


def add_zip(stack: Stack, files: Mapping[str, Path]) -> tuple[str, str]:
    """Add a zip of `files` to the uploaded assets. Returns its bucket and key."""
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    app = stack.node.root
    assert isinstance(app, App)  # noqa: S101 - a stack's root is its app
    path = Path(app.outdir) / f"asset.{digest.hexdigest()}.zip"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        zip_files(path, files)
    location = stack.synthesizer.add_file_asset(
        source_hash=digest.hexdigest(), file_name=path.name, packaging=FileAssetPackaging.FILE
    )
    return location.bucket_name, location.object_key


def folder_files(folder: Path) -> dict[str, Path]:
    """Return all files below `folder`, by their path in it."""
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
