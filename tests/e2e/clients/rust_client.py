"""Builds a client on matrix-rust-sdk, the stack of Element X, outside of the tree: `make rust-client`.

It takes Rust 1.95, ten minutes of one processor the first time, and one minute after a change of its sources.
So no test builds it: one that needs it is skipped where it isn't there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).with_name("rust")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "murmuration" / "rust-client"
NAME = "sliding-client"


def program() -> Path:
    """Return the path of the program if it was built from the present sources."""
    return CACHE / f"{NAME}-{_digest()}"


def _digest() -> str:
    files = sorted(path for path in SOURCES.rglob("*") if path.suffix in (".rs", ".toml"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def main() -> None:
    if program().is_file():
        print(f"{program()} is there already")
        return
    cargo = shutil.which("cargo")
    if cargo is None:
        sys.exit("cargo isn't installed")
    crate = CACHE / "crate"
    shutil.copytree(SOURCES, crate, dirs_exist_ok=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")
    subprocess.run(
        [cargo, "build", "--manifest-path", crate / "Cargo.toml", "--target-dir", target], check=True
    )
    shutil.copy2(target / "debug" / NAME, program())
    print(f"Built {program()}")


if __name__ == "__main__":
    main()
