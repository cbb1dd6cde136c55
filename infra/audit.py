"""Check the supply chain: digests of all pins, licenses of all installed packages, and published vulnerabilities.

``make audit`` prints one table and exits 1 if a check fails. Vulnerabilities need the network. Where the advisory database does
not answer, the row says so and the audit fails; ``--offline`` leaves that check out.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
ENVIRONMENTS: Final = {"constraints.txt": ".venv", "constraints-label-studio.txt": ".venv-label-studio"}
LICENSES: Final = ROOT / "infra" / "licenses.json"
"""Licenses that need no review, and the reviewed exceptions by package, each with the reason."""
PERMISSIVE: Final = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|Unlicense|Public Domain|MPL|Mozilla|Boost|HPND|0BSD|CC0)\b",
    re.IGNORECASE,
)
COPYLEFT: Final = re.compile(r"GPL|Proprietary|NVIDIA|SSPL|BUSL|UNKNOWN", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row of the audit: how many items were checked, and the problems that were found."""

    name: str
    checked: int
    problems: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def result(self) -> str:
        """The result in one word."""
        if self.problems:
            return "FAILED"
        return "NOT CHECKED" if self.unchecked else "ok"


def check_digests(path: Path) -> Check:
    """Check that every line of a constraints file pins one version and has at least one SHA-256 digest."""
    requirements = re.sub(r"\\\n", " ", path.read_text()).splitlines()
    lines = [line for line in requirements if line.strip() and not line.startswith("#")]
    bad = [line.split()[0] for line in lines if not re.match(r"^\S+==\S+( +--hash=sha256:[0-9a-f]{64})+\s*$", line)]
    return Check(name=f"digests in {path.name}", checked=len(lines), problems=tuple(f"{name} has no digest" for name in bad))


def check_versions(path: Path, python: Path) -> Check:
    """Check that an environment holds the pinned versions and no others."""
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    ours = {"pip", "setuptools", "vitau"}
    installed = {_plain(row["name"]): row["version"] for row in json.loads(listed) if _plain(row["name"]) not in ours}
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE)
    pins = {_plain(name): version for name, version in found if _plain(name) not in ours}
    problems = [
        f"{name} {installed.get(name, 'missing')} is installed and {pins.get(name, 'nothing')} is pinned"
        for name in sorted(pins.keys() | installed.keys())
        if installed.get(name) != pins.get(name)
    ]
    return Check(name=f"versions in {python.parents[1].name}", checked=len(installed), problems=tuple(problems))


def read_licenses(python: Path) -> list[dict[str, str]]:
    """Return the name, version and license of every package of an environment, from its installed metadata."""
    command = [sys.executable, "-m", "piplicenses", "--python", str(python), "--format=json", "--from=mixed"]
    rows: list[dict[str, str]] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return rows


def check_licenses(name: str, rows: Sequence[dict[str, str]], reviewed: dict[str, str]) -> Check:
    """Check that every license is permissive, or reviewed with a reason in ``licenses.json``."""
    problems = [
        f"{row['Name']} {row['Version']} has the license {row['License'][:60]!r}: review it in infra/{LICENSES.name}"
        for row in rows
        if _plain(row["Name"]) not in reviewed and (COPYLEFT.search(row["License"]) or not PERMISSIVE.search(row["License"]))
    ]
    return Check(name=f"licenses in {name}", checked=len(rows), problems=tuple(problems))


def check_vulnerabilities(path: Path) -> Check:
    """Look every pin up in the advisory database, with pip-audit."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(path), "--format=json"]
    done = subprocess.run([*command, "--progress-spinner=off"], capture_output=True, text=True, check=False)
    name = f"vulnerabilities of {path.name}"
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return Check(name=name, checked=0, unchecked=(_why_not(done.stderr),))
    problems = [
        f"{package['name']} {package['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'none yet'}"
        for package in packages
        for fault in package.get("vulns", [])
    ]
    unchecked = [package["name"] for package in packages if "skip_reason" in package]
    absent = (f"the advisory database did not answer for {len(unchecked)} of {len(packages)} packages",) if unchecked else ()
    return Check(name=name, checked=len(packages) - len(unchecked), problems=tuple(problems), unchecked=absent)


def _why_not(errors: str) -> str:
    """Return a sentence about a look-up that gave no answer, from the last line of its traceback."""
    last = (errors.strip().splitlines() or ["no message"])[-1]
    if unreachable := re.match(r"(?:[\w.]+\.)?(\w*(?:Connection|Proxy|SSL|Timeout|Service)\w*)(?::|$)", last):
        remedy = "run it where the index of packages can be reached, or leave this check out with ARGS=--offline"
        return f"the advisory database cannot be reached ({unreachable[1]}); {remedy}"
    return f"pip-audit failed: {last}"


def audit(*, offline: bool = False) -> list[Check]:
    """Run every check on both environments."""
    reviewed: dict[str, str] = json.loads(LICENSES.read_text())
    checks: list[Check] = []
    for constraints, environment in ENVIRONMENTS.items():
        python = ROOT / environment / "bin" / "python"
        rows = read_licenses(python)
        counts = Counter(row["License"] for row in rows)
        print(
            f"{environment}: " + ", ".join(f"{number} {license_name}" for license_name, number in counts.most_common(8)) + ", …"
        )
        checks += [check_digests(ROOT / constraints), check_versions(ROOT / constraints, python)]
        checks.append(check_licenses(environment, rows, reviewed))
        if not offline:
            checks.append(check_vulnerabilities(ROOT / constraints))
    return checks


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Print the table, and exit 1 unless every check passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offline", action="store_true", help="leave out the look-up of vulnerabilities")
    checks = audit(offline=parser.parse_args().offline)
    print(f"\n{'check':48}{'items':>7}{'problems':>10}  result")
    for check in checks:
        print(f"{check.name:48}{check.checked:>7}{len(check.problems):>10}  {check.result}")
    for check in checks:
        for line in (*check.problems, *check.unchecked):
            print(f"  {check.name}: {line}")
    sys.exit(any(check.result != "ok" for check in checks))


if __name__ == "__main__":
    main()
