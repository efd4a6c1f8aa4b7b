import io
import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmsoc_ray.data import open_storage, read_manifest
from mmsoc_ray.data.sources import Reason, load_mapping, prepare_source
from mmsoc_ray.data.sources.convert import Converter
from mmsoc_ray.errors import ConfigurationError

MAPPING = """\
dataset: my_memes
files: {test: labels.csv}
sample_id: id
image: {column: file, folder: pictures}
text: caption
targets:
  humor: {column: funny, labels: {1: humorous, 0: not_humorous}}
"""
ROWS = [{"id": f"m{n}", "file": f"{n}.png", "caption": f"caption {n}", "funny": n % 2} for n in range(6)]


def bomb() -> bytes:
    file = io.BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(source, small):
    """A folder of pictures with a CSV that nobody prepared."""
    source.table("labels.csv", ROWS)
    for number in range(6):
        source.write(f"pictures/{number}.png", small(number))
    return source


def change(folder, number, **values):
    rows = [dict(row) for row in ROWS]
    rows[number].update(values)
    folder.table("labels.csv", rows)


def test_a_folder_of_pictures_with_a_csv_becomes_shards(folder, small):
    prepared = folder.prepare(MAPPING)
    assert prepared.report.kept == {"test": 6}
    posts = folder.posts("my_memes")
    assert [post.post_key for post in posts] == [f"my_memes/test/m{n}" for n in range(6)]
    assert posts[3].image == small(3)
    assert posts[3].text == "caption 3"
    assert posts[3].targets == {"humor": ("humorous",)}


@pytest.mark.parametrize("form", ["csv", "tsv", "xlsx", "jsonl", "parquet"])
def test_every_kind_of_table_gives_the_same_posts(form, folder):
    folder.prepare(MAPPING)
    before = folder.output_bytes()["my_memes/test/shard-00000.parquet"]
    folder.table(f"labels.{form}", ROWS)
    folder.prepare(MAPPING.replace("labels.csv", f"labels.{form}"))
    assert folder.output_bytes()["my_memes/test/shard-00000.parquet"] == before


def test_a_second_run_gives_the_same_bytes_and_so_does_its_report(folder):
    change(folder, 2, file="absent.png")
    folder.write("pictures/4.png", b"no picture")
    folder.prepare(MAPPING)
    first = folder.output_bytes()
    assert set(first) == {"my_memes/test/manifest.json", "my_memes/test/shard-00000.parquet", "my_memes/report.json"}
    folder.prepare(MAPPING)
    assert folder.output_bytes() == first


def test_the_manifest_carries_counts_columns_and_licence(folder):
    folder.prepare(MAPPING + "licence: CC BY 4.0\nsource: my own\n")
    manifest = read_manifest(open_storage(folder.output), "my_memes", "test")
    assert (manifest.posts, manifest.tasks, manifest.licence, manifest.source) == (
        6,
        {"humor": 6},
        "CC BY 4.0",
        "my own",
    )
    assert manifest.columns["image"] == "binary"


@pytest.mark.parametrize(
    ("values", "reason", "detail"),
    [
        ({"id": "m0"}, Reason.duplicate_id, "m0"),
        ({"id": " "}, Reason.missing_id, "'id'"),
        ({"file": "absent.png"}, Reason.missing_picture, "pictures/absent.png"),
        ({"file": ""}, Reason.missing_picture, "'file' is empty"),
        ({"file": "../labels.csv"}, Reason.corrupt_picture, "labels.csv"),
        ({"file": "../../secret.png"}, Reason.missing_picture, "leads out of the source"),
        ({"file": "/etc/hostname"}, Reason.missing_picture, "leads out of the source"),
        ({"file": "."}, Reason.missing_picture, "pictures"),
        ({"file": "x" * 300}, Reason.missing_picture, "xxx"),
        ({"funny": "2"}, Reason.unknown_label, "humor: '2' is none of 1, 0"),
        ({"funny": ""}, Reason.missing_target, "'funny' is empty"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_row_that_cannot_be_a_post_is_dropped_with_its_reason(values, reason, detail, folder):
    change(folder, 3, **values)
    report = folder.prepare(MAPPING).report
    assert report.dropped == {reason: 1}
    (offender,) = report.offenders[reason]
    assert offender.where == "labels.csv, row 4"
    assert detail in offender.detail
    assert [post.sample_id for post in folder.posts("my_memes")] == ["m0", "m1", "m2", "m4", "m5"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no picture", Reason.corrupt_picture), (bomb(), Reason.decompression_bomb)],
    ids=["junk", "bomb"],
)
def test_a_bad_picture_is_dropped_with_its_reason(content, reason, folder):
    folder.write("pictures/3.png", content)
    assert folder.prepare(MAPPING).report.dropped == {reason: 1}


def test_a_picture_file_of_too_many_bytes_is_dropped_unread(folder, monkeypatch):
    monkeypatch.setattr("mmsoc_ray.data.sources.convert.PICTURE_BYTES", 1000)
    folder.write("pictures/3.png", b"x" * 1001)
    report = folder.prepare(MAPPING).report
    assert report.dropped == {Reason.decompression_bomb: 1}


def test_a_picture_that_is_cut_short_is_dropped(folder, make_picture):
    folder.write("pictures/3.png", make_picture(1)[:-200])
    assert folder.prepare(MAPPING).report.dropped == {Reason.corrupt_picture: 1}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_text_that_is_not_utf8_is_dropped_and_the_rows_beside_it_stay(form, folder):
    path = folder.table(f"labels.{form}", ROWS)
    path.write_bytes(path.read_bytes().replace(b"caption 3", b"caf\xe9"))
    report = folder.prepare(MAPPING.replace("labels.csv", f"labels.{form}")).report
    assert report.dropped == {Reason.not_utf8: 1}
    assert "b'caf\\xe9'" in report.offenders[Reason.not_utf8][0].detail
    assert report.kept == {"test": 5}


def test_a_text_in_parquet_that_is_not_utf8_is_dropped_and_the_rows_beside_it_stay(folder):
    path = folder.write("labels.parquet", b"")
    pq.write_table(pa.Table.from_pylist(ROWS), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"caption 3", b"caption \xff"))
    report = folder.prepare(MAPPING.replace("labels.csv", "labels.parquet")).report
    assert report.dropped == {Reason.not_utf8: 1}
    assert report.kept == {"test": 5}


@pytest.mark.parametrize(
    ("line", "detail"), [("{broken", "no JSON"), ("[1, 2]", "no JSON object"), ("[" * 10_000, "no JSON")]
)
def test_a_line_that_is_no_json_object_is_dropped(line, detail, folder):
    path = folder.table("labels.jsonl", ROWS)
    path.write_text(path.read_text() + "\n" + line + "\n")
    report = folder.prepare(MAPPING.replace("labels.csv", "labels.jsonl")).report
    assert report.dropped == {Reason.malformed_row: 1}
    assert detail in report.offenders[Reason.malformed_row][0].detail
    assert report.kept == {"test": 6}


def test_a_row_with_too_many_fields_is_dropped(folder):
    path = folder.table("labels.csv", ROWS)
    path.write_text(path.read_text() + "m9,9.png,a caption, with a comma,1\n")
    report = folder.prepare(MAPPING).report
    assert report.dropped == {Reason.malformed_row: 1}
    assert report.offenders[Reason.malformed_row][0].detail == "5 fields, but the header has 4"


def test_line_breaks_within_quotes_and_a_byte_order_mark_are_read(folder):
    change(folder, 0, caption='two\nlines, and a "quote"')
    path = folder.folder / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    folder.prepare(MAPPING)
    assert folder.posts("my_memes")[0].text == 'two\nlines, and a "quote"'


def test_a_post_without_picture_and_text_is_dropped(folder):
    change(folder, 3, file="", caption="")
    report = folder.prepare(MAPPING.replace("pictures}", "pictures, optional: true}")).report
    assert report.dropped == {Reason.empty_post: 1}


def test_an_optional_picture_may_be_absent_but_not_broken(folder):
    change(folder, 3, file="")
    folder.write("pictures/4.png", b"no picture")
    report = folder.prepare(MAPPING.replace("pictures}", "pictures, optional: true}")).report
    assert report.dropped == {Reason.corrupt_picture: 1}
    assert [post.sample_id for post in folder.posts("my_memes") if post.image is None] == ["m3"]


def test_of_a_repeated_id_the_first_row_is_kept_in_every_split(folder):
    rows = [{**row, "id": "same", "part": ("train", "dev")[n % 2]} for n, row in enumerate(ROWS)]
    folder.table("labels.csv", rows)
    mapping = MAPPING.replace(
        "files: {test: labels.csv}", "files: labels.csv\nsplit_column: {column: part, names: {dev: validation}}"
    )
    report = folder.prepare(mapping).report
    assert report.kept == {"train": 1, "validation": 1}
    assert report.dropped == {Reason.duplicate_id: 4}
    assert folder.posts("my_memes", "validation")[0].text == "caption 1"


def test_a_split_that_cannot_be_a_folder_is_dropped(folder):
    folder.table("labels.csv", [{**row, "part": ("../x", "test", "")[n % 3]} for n, row in enumerate(ROWS)])
    mapping = MAPPING.replace("files: {test: labels.csv}", "files: labels.csv\nsplit_column: part")
    report = folder.prepare(mapping).report
    assert report.kept == {"test": 2}
    assert report.dropped == {Reason.missing_split: 4}


def test_without_a_column_the_id_is_the_number_of_the_row_in_its_split(folder):
    folder.table("more.csv", ROWS[:2])
    mapping = MAPPING.replace("sample_id: id\n", "").replace("labels.csv}", "[labels.csv, more.csv], train: more.csv}")
    folder.prepare(mapping)
    assert [post.sample_id for post in folder.posts("my_memes")] == [str(n) for n in range(8)]
    assert [post.sample_id for post in folder.posts("my_memes", "train")] == ["0", "1"]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("head_80_10_10", {"train": 8, "validation": 1, "test": 1}),
        ("head_90_10", {"train": 9, "validation": 1}),
        ("head_80_20", {"train": 8, "test": 2}),
    ],
)
def test_splits_by_position_count_dropped_rows_too(rule, kept, folder):
    folder.table("labels.csv", [{**ROWS[0], "id": f"n{n}", "funny": n % 2} for n in range(10)])
    mapping = MAPPING.replace("{test: labels.csv}", f"labels.csv\nsplits: {rule}")
    assert folder.prepare(mapping).report.kept == kept
    folder.table("labels.csv", [{**ROWS[0], "id": f"n{n}", "funny": 7 if n == 0 else 1} for n in range(10)])
    assert folder.prepare(mapping).report.kept == {**kept, "train": kept["train"] - 1}


def test_every_part_of_a_cut_is_rounded_down_and_the_last_has_the_rest(folder):
    folder.table("labels.csv", [{**ROWS[0], "id": f"n{n}"} for n in range(19)])
    mapping = MAPPING.replace("{test: labels.csv}", "labels.csv\nsplits: head_80_10_10")
    assert folder.prepare(mapping).report.kept == {"train": 15, "validation": 1, "test": 3}


def test_a_text_that_writes_a_list_gives_its_items_and_another_one_none(folder):
    topics = ("['Music', 'Hip_hop_music']", '["Music"]', "Music", "['Music'", "[" * 100_000)
    folder.table("tags.csv", [{**ROWS[0], "id": f"n{n}", "topics": text} for n, text in enumerate(topics)])
    mapping = MAPPING.replace("labels.csv", "tags.csv") + "  tagging: {column: topics, as_list: true}\n"
    assert folder.prepare(mapping).report.dropped == {Reason.missing_target: 3}
    assert [post.targets["tagging"] for post in folder.posts("my_memes")] == [("Music", "Hip_hop_music"), ("Music",)]


def test_strict_names_the_first_offenders_and_writes_nothing(folder):
    change(folder, 3, funny="often")
    folder.write("pictures/5.png", b"no picture")
    with pytest.raises(ConfigurationError) as raised:
        folder.prepare(MAPPING, strict=True)
    assert "labels.csv, row 4: unknown_label (humor: 'often' is none of 1, 0)" in str(raised.value)
    assert "labels.csv, row 6: corrupt_picture" in str(raised.value)
    assert not folder.output.exists()


def test_strict_writes_the_same_bytes_where_nothing_is_wrong(folder):
    folder.prepare(MAPPING)
    before = folder.output_bytes()
    folder.prepare(MAPPING, strict=True)
    assert folder.output_bytes() == before


def test_strict_tells_duplicates_from_the_rows_that_its_check_saw(folder):
    change(folder, 3, id="m0")
    with pytest.raises(ConfigurationError, match="row 4: duplicate_id"):
        folder.prepare(MAPPING, strict=True)


def test_a_source_of_which_nothing_is_left_is_an_error(folder):
    folder.table("labels.csv", [{**row, "funny": "maybe"} for row in ROWS])
    with pytest.raises(ConfigurationError, match=r"Nothing was kept(.|\n)*unknown_label 6"):
        folder.prepare(MAPPING)
    assert not folder.output.exists()


def test_a_missing_column_lists_what_is_there_and_prints_yaml_that_mends_it(folder):
    rows = [{("captions" if key == "caption" else key): value for key, value in row.items()} for row in ROWS]
    folder.table("labels.csv", rows)
    with pytest.raises(ConfigurationError) as raised:
        folder.prepare(MAPPING)
    message = str(raised.value)
    assert "no column 'caption'" in message
    assert "Columns found:  id, file, captions, funny" in message
    assert "Columns wanted: id, caption, file, funny" in message
    mended = message.partition("mapping:\n\n")[2]
    assert folder.prepare(mended).report.kept == {"test": 6}


def test_a_missing_table_names_those_that_are_there(folder):
    with pytest.raises(ConfigurationError, match=r"label\.csv: no such file\. Tables there: labels\.csv\."):
        folder.prepare(MAPPING.replace("labels.csv", "label.csv"))


def test_a_failure_in_the_middle_leaves_no_manifest_that_vouches_for_old_shards(folder):
    folder.prepare(MAPPING)

    def broken(convert, slices):
        yield from itertools.islice(map(convert, slices), 1)
        raise OSError("the store does not answer")

    with pytest.raises(OSError, match="does not answer"):
        folder.prepare(MAPPING, map_slices=broken)
    with pytest.raises(ConfigurationError, match="Prepare the split again"):
        read_manifest(open_storage(folder.output), "my_memes", "test")
    assert not [name for name in folder.output_bytes() if ".tmp-" in name]


def test_ray_tasks_give_the_same_bytes_as_one_process(folder, ray_session, monkeypatch):
    from mmsoc_ray.grid.ordered import map_in_order

    monkeypatch.setattr("mmsoc_ray.data.sources.convert.SLICE_ROWS", 1)
    rows = [{**ROWS[n % 6], "id": f"m{n}", "funny": "x" if n == 7 else n % 2} for n in range(30)]
    folder.table("labels.csv", rows)
    folder.prepare(MAPPING)
    before = folder.output_bytes()
    seen = []

    def counted(convert, slices):
        return map_in_order(convert, (seen.append(1) or part for part in slices))

    folder.prepare(MAPPING, map_slices=counted)
    assert folder.output_bytes() == before
    assert len(seen) == 30


def test_the_second_pass_reads_every_slice_once(folder):
    mapping = load_mapping(folder.write("m.yaml", MAPPING))
    calls = []

    def counted(convert, slices):
        for part in slices:
            calls.append(len(part))
            yield convert(part)

    prepare_source(mapping, open_storage(folder.folder), open_storage(folder.output), map_slices=counted)
    assert sum(calls) == 6


def test_a_list_in_parquet_with_a_text_that_is_not_utf8_is_dropped(folder):
    path = folder.write("labels.parquet", b"")
    rows = [{**row, "words": [f"word {n}", "more"]} for n, row in enumerate(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"word 3", b"word \xff"))
    report = folder.prepare(MAPPING.replace("labels.csv", "labels.parquet") + "  tagging: words\n").report
    assert report.dropped == {Reason.not_utf8: 1}
    assert report.kept == {"test": 5}


def test_a_table_that_is_broken_in_its_middle_is_named(folder):
    path = folder.table("labels.parquet", ROWS)
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(bytes(content))
    with pytest.raises((ConfigurationError, OSError)) as raised:
        folder.prepare(MAPPING.replace("labels.csv", "labels.parquet"))
    assert not (folder.output / "my_memes/test/manifest.json").exists()
    assert str(raised.value)


def test_a_column_that_stands_twice_is_refused(folder):
    path = folder.table("labels.csv", ROWS)
    path.write_text(path.read_text().replace("caption,funny", "id,funny"))
    with pytest.raises(ConfigurationError, match="two columns are named 'id'"):
        folder.prepare(MAPPING.replace("text: caption\n", ""))


def test_a_source_that_a_worker_does_not_see_is_an_error_and_no_reason_to_drop(folder, tmp_path):
    converter = Converter(load_mapping(folder.write("m.yaml", MAPPING)), str(tmp_path / "elsewhere"))
    with pytest.raises(OSError, match="no such folder on this node"):
        converter([])


def test_what_a_source_says_cannot_command_a_terminal(folder):
    change(folder, 3, funny="\x1b[2J\x07")
    report = folder.prepare(MAPPING).report
    assert all(line.isprintable() for line in report.lines())
    assert "\\x1b[2J\\x07" in report.offenders[Reason.unknown_label][0].detail


def test_targets_of_a_task_of_ones_own_are_checked_against_its_labels(folder):
    folder.write("toxicity.yaml", "name: toxicity\nkind: classification\nprompt: Toxic?\nlabels: [toxic, civil]\n")
    folder.write("topics.yaml", "name: topics\nkind: tagging\nprompt: Topics?\nlabels: [cats, dogs]\n")
    rows = [{**row, "tox": ("t", "c", "x")[n % 3], "about": "cats;dogs"} for n, row in enumerate(ROWS)]
    rows[0]["about"] = "cats;mice"
    folder.table("labels.csv", rows)
    own = (
        "  toxicity: {column: tox, task_file: toxicity.yaml, labels: {t: toxic, c: civil}}\n"
        "  topics: {column: about, task_file: topics.yaml, separator: ;}\n"
    )
    report = folder.prepare(MAPPING + own).report
    assert [row.detail for row in report.offenders[Reason.unknown_label]] == [
        "topics: 'cats, mice' is none of cats, dogs",
        "toxicity: 'x' is none of t, c",
        "toxicity: 'x' is none of t, c",
    ]
    assert [dict(post.targets) for post in folder.posts("my_memes")][1:2] == [
        {"humor": ("humorous",), "toxicity": ("toxic",), "topics": ("cats", "dogs")}
    ]


def test_a_suffix_in_capitals_is_a_suffix(folder):
    (folder.folder / "labels.csv").rename(folder.folder / "LABELS.CSV")
    assert folder.prepare(MAPPING.replace("labels.csv", "LABELS.CSV")).report.kept == {"test": 6}


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_table_with_another_delimiter_is_told_how_to_say_so(mark, folder):
    path = folder.table("labels.csv", ROWS)
    path.write_text(path.read_text().replace(",", mark))
    with pytest.raises(ConfigurationError) as raised:
        folder.prepare(MAPPING)
    assert "its columns are separated by" in str(raised.value)
    line = str(raised.value).partition("Add to the mapping: ")[2]
    assert folder.prepare(f"{MAPPING}{line}\n").report.kept == {"test": 6}


def test_a_table_in_utf16_is_told_what_it_should_be(folder):
    path = folder.table("labels.csv", ROWS)
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(ConfigurationError, match=r"labels\.csv: its first line is not UTF-8\. Save the file as UTF-8"):
        folder.prepare(MAPPING)
