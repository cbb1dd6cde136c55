"""Traces of a person in texts, tables and Base64."""

import base64
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.erase import check_scan
from flows.erasure.files import blank, traces_in_files
from flows.erasure.objects import DERIVED, traces_in_store
from flows.erasure.scan import Scan
from flows.erasure.traces import Traces
from vitau.errors import CatalogError
from vitau.store import open_store

NAME = "40002656393abd290388"
TRACES = Traces(frozenset({NAME}), (("ab" * 32, ".mp4"),))


def parquet(value: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"subject": [value] * 9}), sink, compression="zstd")
    return sink.getvalue()


@pytest.mark.parametrize("before", ["", "s", "su", "subjects/"])
def test_a_pseudonym_is_found_inside_base64_at_any_place(before):
    assert TRACES.in_bytes(base64.b64encode(f"{before}{NAME}/keyframes/1.jpg".encode()))
    assert not TRACES.in_bytes(base64.b64encode(f"{before}{NAME[::-1]}/keyframes/1.jpg".encode()))


def test_compressed_tables_and_streams_are_opened():
    assert TRACES.in_bytes(parquet(NAME))
    assert TRACES.in_bytes(gzip.compress(b"ab" * 32))
    assert not TRACES.in_bytes(parquet("another"))


def test_a_log_is_blanked_in_place_and_the_files_with_traces_are_listed(tmp_path):
    log = tmp_path / "service.log"
    log.write_text(f"GET /data/{NAME}/1.jpg\nGET /health\n")
    (tmp_path / "page.html").write_bytes(b"clip " + b"ab" * 6)
    assert sorted(traces_in_files(tmp_path, TRACES)) == ["page.html", "service.log"]
    with log.open("a") as program:
        assert blank(log, TRACES) == 1
        program.write("still appended\n")
    assert log.read_text() == f"GET /data/{'x' * len(NAME)}/1.jpg\nGET /health\nstill appended\n"
    assert list(traces_in_files(tmp_path, TRACES)) == ["page.html"]


class Stored:
    """A workspace with a store only."""

    def __init__(self, folder) -> None:
        self.store = open_store(str(folder))


def test_an_object_that_cannot_be_read_is_not_taken_for_one_without_a_trace(tmp_path):
    """A damaged page is deleted, since a later run writes it anew; any other object keeps the erasure from finishing."""
    workspace = Stored(tmp_path)
    for key in ("models/of-others.safetensors", "reports/damaged.html", "reports/readable.html"):
        workspace.store.put(key, b"nothing of the person")
    for key in ("models/of-others.safetensors", "reports/damaged.html"):
        (tmp_path / key).write_bytes(b"flipped")
    assert list(traces_in_store(workspace, TRACES, DERIVED)) == ["reports/damaged.html"]
    workspace.store.erase("reports/damaged.html")
    found = Scan()
    found.look("store", traces_in_store(workspace, TRACES), TRACES)
    with pytest.raises(CatalogError, match=r"cannot be read: store: models/of-others.safetensors\. Delete"):
        check_scan(found)
    workspace.store.erase("models/of-others.safetensors")
    assert list(traces_in_store(workspace, TRACES)) == []
