import re
import stat
import zipfile
from dataclasses import replace
from xml.etree import ElementTree as ET  # files that this test wrote

import pytest

from vitau.measures.reporting.dictionary import LONGEST_NAME, REDCAP_HEADER, variable_name, variables
from vitau.measures.reporting.workbook import WorkbookWriter
from vitau.measures.results import Task
from vitau.schema import Skipped

SPACE = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def parsed(xml):
    return ET.fromstring(xml)  # noqa: S314  # a file that this test wrote


def sheets_of(path):
    """Read the cells of all sheets of a workbook: name → rows of texts and numbers."""
    with zipfile.ZipFile(path) as book:
        strings = ["".join(text.itertext()) for text in parsed(book.read("xl/sharedStrings.xml")).findall("m:si", SPACE)]
        names = [sheet.get("name") for sheet in parsed(book.read("xl/workbook.xml")).iterfind("m:sheets/m:sheet", SPACE)]
        found = {}
        for number, name in enumerate(names, start=1):
            xml = book.read(f"xl/worksheets/sheet{number}.xml").decode()
            assert "<f>" not in xml, "no cell is a formula"
            rows = []
            for row in parsed(xml).iterfind("m:sheetData/m:row", SPACE):
                cells = {}
                for cell in row.iterfind("m:c", SPACE):
                    value = cell.findtext("m:v", namespaces=SPACE)
                    letters = re.match(r"[A-Z]+", cell.get("r"))[0]
                    cells[letters] = strings[int(value)] if cell.get("t") == "s" else float(value)
                rows.append(cells)
            found[name] = rows
    return found


@pytest.fixture(scope="module")
def book(tmp_path_factory, recording):
    out = tmp_path_factory.mktemp("book")
    with WorkbookWriter(out) as writer:
        writer.add(recording)
        writer.add(replace(recording, item='=HYPERLINK("http://x")', visit="2"))
        writer.write_skipped([Skipped(item="c", reason="no face was found")])
    assert stat.S_IMODE((out / "measures.xlsx").stat().st_mode) == 0o600
    return sheets_of(out / "measures.xlsx")


def test_every_column_of_the_records_is_a_variable_of_the_dictionary_and_the_other_way_round(book):
    header = list(book["records"][0].values())
    assert header == [row["A"] for row in book["data_dictionary"][1:]]
    assert list(book["data_dictionary"][0].values()) == list(REDCAP_HEADER)
    assert header[0] == "record_id"


def test_a_record_holds_the_values_that_were_measured(book, recording):
    header = {name: letters for letters, name in book["records"][0].items()}
    record = book["records"][1]
    smile = next(m for m in recording.measures if m.task is Task.SMILE and m.measure == "lip_corner_lateral")
    assert record[header["smile_cornerlat_r"]] == pytest.approx(smile.right)
    assert record[header["smile_cornerlat_diff"]] == pytest.approx(smile.difference)
    assert record[header["side"]] == 2, "left"
    assert record[header["forehead_spared"]] == 0, "no, which is not the same as empty"
    assert record[header["frames_measured"]] == 34
    assert header["teeth_lowlip_r"] not in record, "what was not measured is empty"


def test_names_are_those_that_redcap_accepts_and_differ(recording):
    names = [variable.name for variable in variables([recording])]
    assert len(set(names)) == len(names)
    for name in [*names, *(variable_name(task, "lower_margin_reflex", "smallest_detectable_change") for task in Task)]:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert len(name) <= LONGEST_NAME, name


def test_the_sheet_of_measures_has_a_row_for_each_measure_of_each_person(book, recording):
    assert len(book["measures"]) == 1 + 2 * len(recording.measures)
    assert [row["B"] for row in book["skipped"][1:]] == ["no face was found"]


def test_a_name_that_looks_like_a_formula_is_a_text_with_an_apostrophe(book):
    assert book["records"][2]["A"] == '\'=HYPERLINK("http://x")'
