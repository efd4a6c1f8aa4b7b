import datetime
import io
import zipfile

import openpyxl
import pytest

from mmsoc_ray.data.sources import sheets

ROWS = [
    ["id", "caption", "funny", "on", None],
    ["a", " two\nlines ", 1, datetime.datetime(2026, 11, 22), None],
    [None, None, None, None, None],
    [2.0, None, True, 0.1 + 0.2, None, "a note beside the table"],
]


SHEET = "xl/worksheets/sheet1.xml"
TEXTS = """<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>caption</t></si></sst>"""
TEXTS_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"


def workbook(rows):
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.create_sheet("more").append(["not", "read"])
    book.save(file)
    return file.getvalue()


def changed(content, changes, added=None):
    """Return a workbook with the text of some members changed, and others added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, changes[member](data.decode()) if member in changes else data)
        for member, data in (added or {}).items():
            new.writestr(member, data)
    return file.getvalue()


def read(content):
    return [(row.number, dict(row.values)) for row in sheets.sheet_rows("t.xlsx", io.BytesIO(content))]


def test_cells_are_text_as_a_person_sees_them_and_empty_rows_are_none():
    assert sheets.sheet_columns(io.BytesIO(workbook(ROWS))) == ["id", "caption", "funny", "on"]
    assert read(workbook(ROWS)) == [
        (1, {"id": "a", "caption": " two\nlines ", "funny": "1", "on": "2026-11-22"}),
        (2, {"id": "2", "caption": "", "funny": "TRUE", "on": "0.3"}),
    ]


def test_texts_that_cells_share_are_read():
    inline, shared = '<c r="B1" t="inlineStr"><is><t>caption</t></is></c>', '<c r="B1" t="s"><v>0</v></c>'
    kind = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{TEXTS_TYPE}"/></Types>'
    changes = {
        SHEET: lambda text: text.replace(inline, shared),
        "[Content_Types].xml": lambda text: text.replace("</Types>", kind),
    }
    content = changed(workbook(ROWS), changes, {"xl/sharedStrings.xml": TEXTS})
    assert sheets.sheet_columns(io.BytesIO(content)) == ["id", "caption", "funny", "on"]


def test_a_sheet_that_is_wrong_about_its_own_size_is_read_whole():
    content = changed(workbook(ROWS), {SHEET: lambda text: text.replace('ref="A1:F4"', 'ref="A1:A1"')})
    assert content != workbook(ROWS)
    assert read(content)[1] == (2, {"id": "2", "caption": "", "funny": "TRUE", "on": "0.3"})


@pytest.mark.parametrize(
    "content",
    [b"", b"no workbook", workbook(ROWS)[:-200], changed(workbook(ROWS), {"xl/workbook.xml": lambda text: text[:-20]})],
    ids=["empty", "junk", "cut", "xml"],
)
def test_what_is_no_workbook_is_one_kind_of_error(content):
    with pytest.raises(sheets.SheetError, match=r"no \.xlsx workbook"):
        read(content)


def test_entities_that_could_unfold_are_refused():
    bomb = '<!DOCTYPE sst [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;">]>'
    content = changed(workbook(ROWS), {SHEET: lambda text: bomb + text.replace("caption", "&b;")})
    with pytest.raises(sheets.SheetError, match="Entities"):
        read(content)


def test_a_zip_bomb_is_refused_by_its_table_of_contents():
    content = changed(workbook(ROWS), {}, {"xl/sharedStrings.xml": " " * (sheets.PARTS_BYTES + 1)})
    assert len(content) < 200_000
    with pytest.raises(sheets.SheetError, match="unpacked, a sheet has more than"):
        read(content)


def test_a_row_number_that_no_sheet_has_ends_the_reading(monkeypatch):
    monkeypatch.setattr(sheets, "MAX_ROWS", 1000)
    content = changed(workbook(ROWS), {SHEET: lambda text: text.replace('<row r="4">', '<row r="99999999999">')})
    with pytest.raises(sheets.SheetError, match="more than 1,000 rows"):
        read(content)
