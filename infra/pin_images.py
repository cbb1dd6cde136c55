"""Pin the images in `images.env` by digest: ``python3 infra/pin_images.py``, with Docker and where a registry can be reached.

``--check`` asks no registry: it lists the images without a digest, and exits with 1 if there are any. An image that has a
digest keeps it; remove the digest to renew it. It needs the standard library only.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

IMAGES = Path(__file__).with_name("images.env")
IMAGE = re.compile(r"(?P<name>[a-z0-9./-]+):(?P<version>v?\d[\w.-]*)(?P<digest>@sha256:[0-9a-f]{64})?")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_images(path: Path = IMAGES) -> dict[str, str]:
    """Return variable → image of every line.

    Raises:
        SystemExit: a line has another format.
    """
    images = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            variable, _, image = line.partition("=")
            if not IMAGE.fullmatch(image):
                raise SystemExit(f"Error: {path.name}: {line!r} is not VARIABLE=name:version or VARIABLE=name:version@sha256:…")
            images[variable] = image
    return images


def unpinned(images: dict[str, str]) -> dict[str, str]:
    """Return the images without a digest."""
    return {variable: image for variable, image in images.items() if "@" not in image}


def look_up(image: str) -> str:
    """Return the digest that the registry has for an image.

    Raises:
        SystemExit: Docker is missing, or the registry gives no digest.
    """
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit("Error: the program docker is missing: run this where images are built") from None
    digest = found.stdout.strip()
    if found.returncode or not DIGEST.fullmatch(digest):
        reason = (found.stderr.strip().splitlines() or [f"it answered {digest!r}"])[-1]
        raise SystemExit(f"Error: no digest for {image}: {reason}")
    return digest


def main(arguments: Sequence[str], path: Path = IMAGES) -> int:
    """Pin every image without a digest, or with ``--check`` list them; return the exit code."""
    lacking = unpinned(read_images(path))
    if "--check" in arguments:
        for image in lacking.values():
            print(f"{image} is not pinned by digest: run `python3 infra/pin_images.py` where a registry can be reached")
        return 1 if lacking else 0
    for variable, image in lacking.items():
        pinned = f"{image}@{look_up(image)}"
        path.write_text(
            path.read_text(encoding="utf-8").replace(f"{variable}={image}\n", f"{variable}={pinned}\n"), encoding="utf-8"
        )
        print(pinned)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
