"""Validate a frame table against gate 1: ``python -m validation frames FILE``."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from validation.rules import frame_rows, quarantine_reasons
from validation.run import check, require
from validation.suites import frames_suite
from vitau.errors import GateError, VitauError


def main(arguments: list[str] | None = None) -> int:
    """Print the counts of frames and the failures; return 1 if the gate fails or the file is not a frame table."""
    parser = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    gates = parser.add_subparsers(dest="gate", required=True)
    frames = gates.add_parser("frames", help="gate 1: a frame table, one row per sampled frame of a clip")
    frames.add_argument("file", type=Path, help="Parquet file")
    frames.add_argument("--docs", type=Path, help="write Data Docs into this folder")
    frames.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        return _frames(options.file, options.docs, as_json=options.json)
    except VitauError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1


def _frames(path: Path, docs: Path | None, *, as_json: bool) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = set(pq.read_schema(path).names) - {"crop", "embedding"}
        table = pq.read_table(path, columns=sorted(names))
        rows = frame_rows(table)
    except (OSError, pa.ArrowInvalid, ValueError) as error:
        raise GateError(f"{path} is not a frame table: {str(error).splitlines()[0]}") from error
    reasons = quarantine_reasons(rows)
    quarantined = Counter(str(reason) for reason in reasons if reason is not None)
    result = check(rows.assign(quarantine=reasons), frames_suite(), docs)
    if as_json:
        found = {
            "rows": len(rows),
            "quarantined": dict(quarantined),
            "passed": result.passed,
            "failures": list(result.failures),
        }
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        counts = ", ".join(f"{count} {reason}" for reason, count in quarantined.most_common()) or "none"
        sys.stdout.write(f"{len(rows)} frames, in quarantine: {counts}\n")
        sys.stdout.writelines(f"{failure}\n" for failure in result.failures)
    require(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
