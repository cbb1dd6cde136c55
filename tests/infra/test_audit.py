"""Tests of the supply chain's audit: digests, versions and licenses."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """Load the program, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / "infra" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_audit_passes_on_what_is_installed_here() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "infra" / "audit.py", "--offline"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "digests in constraints.txt" in done.stdout


def test_a_pin_without_a_digest_fails(audit: ModuleType, tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text(f"good==1.0 \\\n    --hash=sha256:{'a' * 64}\nloose==2.0\n")
    assert audit.check_digests(pins).problems == ("loose==2.0 has no digest",)
    pins.write_text(f"range>=1.0 \\\n    --hash=sha256:{'a' * 64}\n")
    assert audit.check_digests(pins).problems == ("range>=1.0 has no digest",)


def test_a_package_that_is_not_pinned_fails(audit: ModuleType, tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text(re.sub(r"^rich==.*$", "", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    (problem,) = audit.check_versions(pins, Path(sys.executable)).problems
    assert problem.startswith("rich ")
    assert problem.endswith("is installed and nothing is pinned")


@pytest.mark.parametrize("license_name", ["GPL-3.0-only", "UNKNOWN", "Server Side Public License (SSPL)", "Some New License"])
def test_a_license_that_needs_a_review_fails_until_it_has_one(audit: ModuleType, license_name: str) -> None:
    rows = [{"Name": "Some_Package", "Version": "1.0", "License": license_name}]
    (problem,) = audit.check_licenses("x", rows, {}).problems
    assert problem.startswith(f"Some_Package 1.0 has the license '{license_name}'")
    assert audit.check_licenses("x", rows, {"some-package": "a reason"}).problems == ()


def test_every_reviewed_license_has_a_reason() -> None:
    reviewed = json.loads((ROOT / "infra" / "licenses.json").read_text())
    assert all(len(reason) > 20 for reason in reviewed.values())


def test_an_unreachable_advisory_database_is_one_sentence_and_no_success(
    audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text(f"rich==15.0.0 --hash=sha256:{'0' * 64}\n")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing listens there
    check = audit.check_vulnerabilities(pins)
    assert (check.checked, check.problems, check.result) == (0, (), "NOT CHECKED")
    remedy = "run it where the index of packages can be reached, or leave this check out with ARGS=--offline"
    assert check.unchecked == (f"the advisory database cannot be reached (ProxyError); {remedy}",)
    monkeypatch.setattr(audit, "audit", lambda **_: [check])
    monkeypatch.setattr(sys, "argv", ["audit"])
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert ended.value.code
    assert capsys.readouterr().out.endswith(f"  vulnerabilities of constraints.txt: {check.unchecked[0]}\n")
