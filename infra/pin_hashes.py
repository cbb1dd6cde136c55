"""Write the SHA-256 digests of every pinned package into the constraints files, so that pip refuses any other file.

Run it after a pin changed: ``python infra/pin_hashes.py --index URL constraints.txt constraints-label-studio.txt``. The URL is
that of a package index with the JSON form of the simple API (PEP 691).
"""

import argparse
import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

PYTHONS: Final = frozenset({"py3", "cp311", "cp312", "cp313"})
MACHINES: Final = ("x86_64", "aarch64")
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")


def pin(path: Path, index: str) -> int:
    """Replace the digests in a constraints file; return how many it has now.

    Raises:
        SystemExit: the index has no file of a pinned version.
    """
    lines = [line.rstrip("\\ ") for line in path.read_text().splitlines() if not line.lstrip().startswith("--hash")]
    pins = [(found[1], Version(found[2])) for line in lines if (found := _PIN.match(line))]
    with ThreadPoolExecutor(8) as threads:
        digests = dict(zip(pins, threads.map(partial(find_digests, index), *zip(*pins, strict=True)), strict=True))
    written: list[str] = []
    for line in lines:
        found = _PIN.match(line)
        hashes = sorted(digests[found[1], Version(found[2])]) if found else []
        written.append(" \\\n".join([line, *(f"    --hash=sha256:{digest}" for digest in hashes)]))
    path.write_text("\n".join(written) + "\n")
    return sum(map(len, digests.values()))


def find_digests(index: str, name: str, version: Version) -> set[str]:
    """Return the digests of a version's wheels for Linux, or of its source archive if it has no such wheel."""
    request = urllib.request.Request(  # noqa: S310 - the operator names the index
        f"{index.rstrip('/')}/{canonicalize_name(name)}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        files = {file["filename"]: file["hashes"]["sha256"] for file in json.load(response)["files"]}
    wheels = {files[filename] for filename, tags in _wheels(files, version) if any(map(_is_ours, tags))}
    if wheels:
        return wheels
    archives = {files[filename] for filename in files if _is_source_of(filename, version)}
    if not archives:
        raise SystemExit(f"the index has no file of {name} {version} for Linux: correct the pin")
    return archives


def _wheels(files: dict[str, str], version: Version) -> Iterator[tuple[str, frozenset[Tag]]]:
    for filename in files:
        try:
            _, of_file, _, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            continue
        if of_file == version:
            yield filename, tags


def _is_ours(tag: Tag) -> bool:
    """Return whether a wheel's tag fits a supported Python on Linux with glibc."""
    fits_machine = tag.platform == "any" or (
        "linux" in tag.platform and "musl" not in tag.platform and tag.platform.endswith(MACHINES)
    )
    return fits_machine and (tag.interpreter in PYTHONS or tag.abi == "abi3")


def _is_source_of(filename: str, version: Version) -> bool:
    try:
        return parse_sdist_filename(filename)[1] == version
    except InvalidSdistFilename:
        return False


def main() -> None:
    """Parse the command line and pin the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--index", required=True, help="address of a package index with the simple API in JSON")
    arguments = parser.parse_args()
    for path in arguments.files:
        print(f"{path}: {pin(path, arguments.index)} digests")


if __name__ == "__main__":
    main()
