"""A new bundle takes the place of an old one, in one step that either happens or does not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.bundles.manifest import Manifest
from serving.bundles.sealed import MANIFEST, BundleError


@contextmanager
def replaced(folder: Path | str) -> Iterator[Path]:
    """A new folder to write a bundle into, which takes the place of `folder` if all went well, and else goes.

    Args:
        folder: Where the bundle belongs. Its parent is made where it does not exist.

    Raises:
        BundleError: Something else than a bundle lies there.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder} exists and is no bundle; it is not written over")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    part.chmod(0o755)
    try:
        yield part
        for file in part.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)  # some writers make files that only their owner may read
        _put(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def copy_parts(folder: Path, part: Path) -> Manifest:
    """Copies a bundle's files into a new folder, and gives the manifest that they had."""
    manifest = Manifest.read(folder)
    for name in manifest.files:
        (part / name).parent.mkdir(parents=True, exist_ok=True)  # a language model has a folder of its own
        shutil.copyfile(folder / name, part / name)
    return manifest


def _put(part: Path, folder: Path) -> None:
    """Renames `part` to `folder`; what was there is set aside first, because no folder can be renamed over another."""
    if not folder.exists():
        os.replace(part, folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
    os.replace(folder, aside / "bundle")
    try:
        os.replace(part, folder)
    except BaseException:
        os.replace(aside / "bundle", folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
