"""Measures on the labeling page: the HTML holds every text, escaped, and counts visits."""

import re

from labeling.interface.measure_block import MeasureBlock, MeasureSection, measure_html

SECTION = MeasureSection(
    summary=("Asymmetry of movement: 0.42.",),
    columns=("", "Right", "Left", "Ratio"),
    groups=(
        ("Smiling", (("height of the lip corner", "+0.10", "<b>", "0.30"),)),
        ("At rest", (("lid gap", "0.2", "0.1", ""),)),
    ),
    notes=("Not found in the recordings: puckering the lips.",),
)


def test_the_block_shows_the_sentences_and_a_table_with_a_row_per_measure():
    html = measure_html(MeasureBlock(version="v1", sections=(SECTION,), notes=("Measures may be wrong.",)))
    assert re.findall(r"<p[^>]*>([^<]*)</p>", html) == [
        "Measured by a program",
        "Asymmetry of movement: 0.42.",
        "Not found in the recordings: puckering the lips.",
        "Measures may be wrong.",
    ]
    rows = [re.findall(r"<t[dh][^>]*>([^<]*)</t", row) for row in html.split("<tr>")[1:]]
    assert rows == [
        ["", "Right", "Left", "Ratio"],
        ["Smiling"],
        ["height of the lip corner", "+0.10", "&lt;b&gt;", "0.30"],
        ["At rest"],
        ["lid gap", "0.2", "0.1", ""],
    ]
    assert "<b>" not in html


def test_visits_are_counted_only_where_there_are_several():
    assert "Visit" not in measure_html(MeasureBlock(version="v1", sections=(SECTION,)))
    html = measure_html(MeasureBlock(version="v1", sections=(SECTION, SECTION)))
    assert (html.count("Visit 1 of 2"), html.count("Visit 2 of 2"), html.count("<table")) == (1, 1, 2)


def test_without_a_measure_there_are_sentences_and_no_table():
    empty = MeasureSection(summary=("not measurable here",), columns=("", "Right"), groups=())
    html = measure_html(MeasureBlock(version="v1", sections=(empty,)))
    assert "not measurable here" in html
    assert "<table" not in html
