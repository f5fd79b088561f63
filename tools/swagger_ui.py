"""Renews the page of the API: `make swagger-ui VERSION=5.35.0` packs swagger-ui-dist from npm into the package.

What is kept are the bundle and its style, compressed, with their hashes and licences, and nothing else.
"""

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src/gatewayz/web/api/swagger_ui"
SERVED = ("swagger-ui-bundle.js", "swagger-ui.css")
LICENCES = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")


def pack(version: str) -> bytes:
    """The package of a version, as npm has it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"swagger-ui-dist@{version}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603
        return next(Path(folder).glob("*.tgz")).read_bytes()


def read_files(package: bytes) -> dict[str, bytes]:
    """The files that are kept, by name."""
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        members = {name: archive.extractfile(f"package/{name}") for name in (*SERVED, *LICENCES)}
        return {name: member.read() for name, member in members.items() if member is not None}


def main(version: str) -> None:
    files = read_files(pack(version))
    FOLDER.mkdir(exist_ok=True)
    lines = [f'version = "{version}"', "", "[sha256]"]
    for name in SERVED:
        # Without a time, so that the same version makes the same file.
        (FOLDER / f"{name}.gz").write_bytes(gzip.compress(files[name], mtime=0))
        lines.append(f'"{name}" = "{hashlib.sha256(files[name]).hexdigest()}"')
    for name in LICENCES:
        (FOLDER / name).write_bytes(files[name])
    (FOLDER / "swagger-ui.toml").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main(sys.argv[1])
