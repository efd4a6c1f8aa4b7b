import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.garbage import find_garbage, in_order_of_removal
from mmsoc_ray.models.digests import combined_digest

DAY = timedelta(days=1)


@pytest.fixture
def root(toy_run, tmp_path):
    """An output root with a finished run, all of whose files are two days old."""
    # Without the record of attempts: of a finished run, that is garbage.
    shutil.copytree(toy_run.root, tmp_path / "out", ignore=shutil.ignore_patterns("attempts"))
    for file in (tmp_path / "out").rglob("*"):
        age(file)
    return tmp_path / "out"


def age(file: Path, days: float = 2) -> None:
    moment = time.time() - days * 86400
    os.utime(file, (moment, moment))


def put(root: Path, path: str, days: float = 2) -> str:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    age(file, days)
    return path


def garbage(root: Path, **options: timedelta) -> dict[str, str]:
    found = find_garbage(open_storage(root), now=datetime.now(UTC), **{"older_than": DAY, **options})
    return {item.file.path: item.reason for item in found}


def model_folder(root: Path) -> str:
    (folder,) = root.glob("runs/toy-1/model=tiny/config=*")
    return str(folder.relative_to(root))


def test_a_finished_run_has_no_garbage(root):
    assert garbage(root) == {}


def test_what_no_manifest_refers_to_is_garbage_and_nothing_else(root):
    model = model_folder(root)
    left = {
        put(root, f"{model}/attempts/toy_memes-test-00000-00000/1.json"): "manifest stands for",
        put(root, f"{model}/predictions/toy_memes-test-00009-00000.parquet"): "manifest stands for",
        put(root, "runs/toy-1/model=tiny/config=c0123456789abcdef/predictions/u.parquet"): "manifest stands for",
        put(root, f"{model}/predictions/.tmp-12-abc"): "not finished",
        put(root, "results/run_id=toy-1/part-1.parquet"): "manifest stands for",
        put(root, "results/run_id=gone/part-0.parquet"): "neither plan nor manifest",
        put(root, "runs/gone/model=m/config=c0/predictions/u.parquet"): "neither plan nor manifest",
        put(root, "words/abcdefabcdef/u.json"): "no run uses",
    }
    put(root, "notes.txt")
    put(root, "data/toy/test/shard-00000.parquet")
    found = garbage(root)
    assert set(found) == set(left)
    assert all(part in found[path] for path, part in left.items())


ADAPTER = "toy-0123456789ab"


def put_card(root: Path) -> None:
    """Store the card of an adapter of one file."""
    files = {"trained.safetensors": "f" * 64}
    card = {
        "name": ADAPTER, "model": "tiny", "method": "full", "rank": None, "alpha": None,
        "digest": combined_digest(files), "base_digest": "b", "data_digest": "d", "recipe": {}, "recipe_name": "toy",
        "code_version": {}, "samples": 1, "left_out": {}, "steps": 1, "epochs": 1.0, "best_step": 1, "curves": [],
        "created_at": "2026-11-22T00:00:00+00:00", "files": files,
    }  # fmt: skip
    (root / put(root, f"adapters/{ADAPTER}/card.json")).write_text(json.dumps(card))
    put(root, f"adapters/{ADAPTER}/{combined_digest(files)[:16]}/trained.safetensors")


def test_what_a_training_left_is_garbage_once_its_adapter_is_stored(tmp_path):
    left = {
        put(tmp_path, f"training/{ADAPTER}/0a1b2c/step-00000002-01234567/state.pt"),
        put(tmp_path, f"training/{ADAPTER}/0a1b2c/alive"),
        put(tmp_path, f"training/{ADAPTER}/checkpoint_2026-11-22_10-00-00/state.pt"),
    }
    put(tmp_path, "training/other-0123456789ab/0a1b2c/step-00000002-01234567/state.pt")
    put(tmp_path, "training/notes.txt")
    assert garbage(tmp_path) == {}, "it can be taken up"
    put_card(tmp_path)
    put(tmp_path, f"training/{ADAPTER}/3d4e5f/alive", days=0)
    assert garbage(tmp_path) == dict.fromkeys(left, "its adapter is stored")


def test_a_training_that_is_not_finished_stays_unless_asked_for(tmp_path):
    left = {put(tmp_path, f"training/{ADAPTER}/{driver}/step-00000002-01234567/state.pt") for driver in ("a", "b")}
    assert garbage(tmp_path, unfinished=timedelta(days=3)) == {}
    assert set(garbage(tmp_path, unfinished=timedelta(hours=36))) == left
    put(tmp_path, f"training/{ADAPTER}/c/alive", days=0)
    assert garbage(tmp_path, unfinished=timedelta(hours=36)) == {}, "somebody works on it"


def test_the_files_of_an_adapter_that_came_second_are_garbage(tmp_path):
    second = put(tmp_path, f"adapters/{ADAPTER}/0123456789abcdef/trained.safetensors")
    assert garbage(tmp_path) == {}, "its card may come"
    put_card(tmp_path)
    (own,) = (file.parent for file in tmp_path.rglob("trained.safetensors") if file != tmp_path / second)
    cut = put(tmp_path, f"{own.relative_to(tmp_path)}/.tmp-12-ab")
    assert garbage(tmp_path) == dict.fromkeys([second, cut], "no part of what its adapter's card stands for")
    (tmp_path / f"adapters/{ADAPTER}/card.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="is no card of this version"):
        garbage(tmp_path)


def test_what_other_programs_keep_in_folders_of_the_same_names_stays(tmp_path):
    put(tmp_path, "runs/Nov22_10-13-17_host/events.out.tfevents.1")
    put(tmp_path, "runs/notes.md")
    put(tmp_path, "results/table.csv")
    put(tmp_path, "results/.tmp-draft")
    put(tmp_path, "words/test/shard-00000.parquet")
    put(tmp_path, "training/logs/step-1/state.pt")
    put(tmp_path, "adapters/mine/adapter_model.safetensors")
    (tmp_path / "runs/elsewhere").symlink_to(tmp_path / "archive")
    assert garbage(tmp_path, older_than=timedelta(0)) == {}


def test_manifests_go_first_and_plans_last():
    paths = ["runs/a/plan.json", "runs/a/cells/c.json", "manifests/a.json", "results/run_id=a/part-0.parquet"]
    assert in_order_of_removal(paths) == [paths[2], paths[3], paths[1], paths[0]]


def test_young_files_stay(root):
    put(root, f"{model_folder(root)}/predictions/.tmp-12-abc", days=0.5)
    put(root, "results/run_id=gone/part-0.parquet", days=0.5)
    assert garbage(root) == {}


@pytest.mark.parametrize("written", ["plan alone", "plan and a manifest that says incomplete"])
def test_a_run_that_is_not_finished_stays_unless_asked_for(root, written):
    manifest = root / "manifests/toy-1.json"
    if written == "plan alone":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text().replace('"complete"', '"incomplete"'))
        age(manifest)
    assert garbage(root) == {}
    assert garbage(root, unfinished=timedelta(days=3)) == {}
    found = garbage(root, unfinished=timedelta(hours=36))
    assert "runs/toy-1/plan.json" in found
    assert len(found) == 15 + 12 + 3 * 2 + 3 + (written != "plan alone")
    put(root, f"{model_folder(root)}/predictions/new.parquet", days=0)
    assert garbage(root, unfinished=timedelta(hours=36)) == {}, "somebody works on it"


def test_nothing_goes_while_a_manifest_cannot_be_read(root):
    (root / "manifests/toy-1.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"manifests/toy-1\.json: cannot be read"):
        garbage(root)
    (root / "manifests/toy-1.json").write_text('{"status": "complete"}')
    (root / "runs/toy-1/plan.json").unlink()
    with pytest.raises(ConfigurationError, match=r"speaks of runs/toy-1/plan\.json, which is not there"):
        garbage(root)


def test_the_command_lists_first_and_removes_what_it_listed(root, mmsoc, capsys):
    stray = put(root, f"{model_folder(root)}/attempts/u/1.json")
    before = {file for file in root.rglob("*") if file.is_file()}
    assert mmsoc("gc", "--output", root, "--dry-run") == 0
    assert stray in capsys.readouterr().out
    assert {file for file in root.rglob("*") if file.is_file()} == before
    assert mmsoc("gc", "--output", root) == 2, "not a terminal: nobody was asked"
    assert (root / stray).exists()
    assert mmsoc("gc", "--output", root, "--yes") == 0
    assert "Removed 1 files." in capsys.readouterr().out
    assert before - {file for file in root.rglob("*") if file.is_file()} == {root / stray}
    assert not (root / stray).parent.exists()
    assert mmsoc("verify", root / "runs/toy-1") == 0
