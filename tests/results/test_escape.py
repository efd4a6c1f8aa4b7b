import pytest

from mmsoc_ray.results.escape import markdown_cell, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo memes 7b", "demo memes 7b"),
        ("日本語 ünïcode 🙂", "日本語 ünïcode 🙂"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("right\u202eleft", r"right\u202eleft"),
        ("no\u00a0break", "no break"),
        ("half\ud800", r"half\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_written_as_its_escape(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macro_f1", "macro_f1"),
        ("_a_", r"\_a\_"),
        ("a|b", r"a\|b"),
        ("<script>", r"\<script\>"),
        ("two\nlines", "two" + 2 * "\\" + "nlines"),
    ],
)
def test_markdown_shows_a_name_as_it_is(text: str, expected: str) -> None:
    assert markdown_cell(text) == expected
