"""The layers' contents for this machine's Python: built like them, from the packages installed here."""

from __future__ import annotations

import compileall
import hashlib
import importlib.metadata
import shutil
import tempfile
from pathlib import Path

from infra_cdk import layers

FOLDER = layers.ROOT / "build/cold"


def make_site(into: Path = FOLDER) -> Path:
    """Return the folder that stands for `/opt/python`, built again if our code or a package changed."""
    site, mark = into / "python", into / "digest"
    digest = _digest()
    if not (mark.exists() and mark.read_text() == digest):
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into) as aside:
            fresh = Path(aside) / "python"
            _make(fresh)
            shutil.rmtree(site, ignore_errors=True)
            fresh.rename(site)
        mark.write_text(digest)
    return site


def _digest() -> str:
    digest = hashlib.sha256()
    for path in (*sorted(layers.CODE.rglob("*.py")), *sorted(Path(layers.__file__).parent.rglob("*.py"))):
        digest.update(path.read_bytes())
    for name in layers.shipped():
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return digest.hexdigest()


def _make(site: Path) -> None:
    site.mkdir()
    for name in layers.shipped():
        distribution = importlib.metadata.distribution(name)
        tops = {Path(str(file)).parts[0] for file in distribution.files or ()}
        for top in tops - {"..", "__pycache__"}:
            source = Path(str(distribution.locate_file(top)))
            if top in layers.QUICKENED:
                shutil.copytree(source, site / top, ignore=shutil.ignore_patterns("__pycache__"))
            elif not (site / top).exists():
                (site / top).symlink_to(source)
    layers.trim(site)
    layers.copy_code(site)
    for name in (*layers.QUICKENED, "murmuration"):
        compileall.compile_dir(site / name, quiet=2)
    compileall.compile_file(str(site / "lazily.py"), quiet=2)
