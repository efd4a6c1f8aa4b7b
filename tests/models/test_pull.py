import dataclasses
import hashlib
import json
import shutil

import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import digests, get_model, model_digest
from mmsoc_ray.models.pull import Wanted, pull, wanted
from mmsoc_ray.models.weights import read_weights

NAME = "Salesforce/blip2-opt-2.7b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEXT = "1" * 40
READ = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"weights" * 1000,
    "model-00002-of-00002.safetensors": b"more",
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "qformer_tokenizer/vocab.txt": b"a\nb\n",
    "chat_template.jinja": b"{{ messages }}",
    "tokenizer.model": b"\0\1",
}
LEFT = {
    "pytorch_model.bin": b"pickled",
    "pytorch_model.bin.index.json": b"{}",
    "onnx/model.safetensors": b"another model",
    "README.md": b"card",
    "modeling.py": b"code",
    ".gitattributes": b"lfs",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def blip(hub):
    hub.publish("models", NAME, READ | LEFT, license="mit")
    return hub


def pulled(root, name=NAME, revision=COMMIT):
    said = []
    return pull(Wanted(name, name, revision), open_storage(root), said.append), said


def test_what_an_engine_reads_comes_to_a_folder_and_nothing_else(blip, mmsoc, capsys, tmp_path):
    assert mmsoc("models", "pull", "blip2-opt-2.7b", "--output", tmp_path / "weights") == 0
    folder = tmp_path / "weights" / NAME / COMMIT
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    manifest = json.loads(found.pop("model.json").read_bytes())
    assert {name: file.read_bytes() for name, file in found.items()} == READ
    assert sorted(blip.transferred) == sorted(READ)
    assert (manifest["checkpoint"], manifest["revision"], manifest["licence"]) == (NAME, COMMIT, "mit")
    assert manifest["files"] == [
        {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(READ.items())
    ]
    printed = capsys.readouterr().out
    assert f"no revision is pinned or given; the hub's head is commit {COMMIT}" in printed
    assert f"weights: {tmp_path / 'weights'}, or checkpoint: {folder}" in printed


def test_the_digest_is_that_of_a_plain_folder_with_the_files_and_needs_no_reading(blip, tmp_path, monkeypatch):
    done, _ = pulled(tmp_path / "weights")
    plain = tmp_path / "plain"
    for name, content in (READ | LEFT).items():  # as a whole download has them
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(content)
    assert model_digest(plain) == done.weights.digest
    monkeypatch.setattr(digests, "file_sha256", lambda file: pytest.fail(f"read {file}"))
    assert model_digest(tmp_path / "weights" / NAME / COMMIT) == done.weights.digest


def test_time_enters_no_digest(blip, tmp_path):
    one, other = (pulled(tmp_path / root)[0].weights for root in ("one", "other"))
    assert one.digest == other.digest
    assert one.model_copy(update={"pulled_at": other.pulled_at}) == other


def test_a_second_pull_transfers_nothing_and_says_so(blip, mmsoc, capsys, tmp_path):
    command = ("models", "pull", "blip2-opt-2.7b", "--output", tmp_path)
    assert mmsoc(*command) == 0
    before = (tmp_path / NAME / COMMIT / "model.json").read_bytes()
    blip.asked.clear()
    assert mmsoc(*command) == 0
    assert "blip2-opt-2.7b: was there already, nothing to do" in capsys.readouterr().out
    assert blip.transferred == []
    assert (tmp_path / NAME / COMMIT / "model.json").read_bytes() == before


def test_a_commit_that_is_there_needs_no_hub(blip, tmp_path):
    pulled(tmp_path)
    blip.asked.clear()
    done, _ = pulled(tmp_path)
    assert (done.transferred, blip.asked) == (0, [])


def test_a_moved_head_is_another_folder(blip, tmp_path):
    pulled(tmp_path, revision=None)
    blip.publish("models", NAME, READ | {"config.json": b'{"new": 1}'}, commit=NEXT)
    done, said = pulled(tmp_path, revision=None)
    assert done.weights.revision == NEXT
    assert NEXT in said[0]
    assert {folder.name for folder in (tmp_path / NAME).iterdir()} == {COMMIT, NEXT}


def test_a_tag_is_resolved_to_its_commit(blip, tmp_path):
    blip.publish("models", NAME, READ, commit=NEXT, ref="refs/pr/3")
    assert pulled(tmp_path, revision="refs/pr/3")[0].weights.revision == NEXT


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "tokenizer.model"])
def test_other_bytes_than_stated_are_refused_by_name_and_leave_no_manifest(name, blip, mmsoc, capsys, tmp_path):
    blip.damaged.add(name)
    assert mmsoc("models", "pull", "blip2-opt-2.7b", "--output", tmp_path) == 2
    assert f"error: {name}: the hub states {len(READ[name])} bytes" in capsys.readouterr().err
    assert not (tmp_path / NAME / COMMIT / name).exists()
    assert not (tmp_path / NAME / COMMIT / "model.json").exists()


def test_an_interrupted_pull_goes_on_with_the_files_that_are_complete(blip, tmp_path):
    largest = "model-00001-of-00002.safetensors"
    blip.withheld.add(largest)
    with pytest.raises(ConfigurationError, match=rf"{NAME}@{COMMIT}, {largest}: the hub did not give it"):
        pulled(tmp_path)
    blip.withheld.clear()
    blip.asked.clear()
    folder = tmp_path / NAME / COMMIT
    (folder / "config.json").write_bytes(b"[]")  # of the right size, but not what the hub states
    done, _ = pulled(tmp_path)
    assert blip.transferred == ["config.json", largest]
    assert done.weights == read_weights(open_storage(folder))
    assert model_digest(folder) == done.weights.digest


def test_a_file_that_was_lost_is_brought_again(blip, tmp_path):
    pulled(tmp_path)
    (tmp_path / NAME / COMMIT / "config.json").unlink()
    blip.asked.clear()
    pulled(tmp_path)
    assert blip.transferred == ["config.json"]


def test_nothing_stays_in_the_cache(blip, tmp_path):
    blip.damaged.add("tokenizer.model")
    with pytest.raises(ConfigurationError):
        pulled(tmp_path / "weights")
    blip.damaged.clear()
    pulled(tmp_path / "weights")
    assert [path.name for path in (tmp_path / "cache" / "pulls").iterdir()] == ["Salesforce--blip2-opt-2.7b.lock"]


def test_pickled_weights_are_refused_with_the_remedy(hub, mmsoc, capsys, tmp_path):
    hub.publish("models", NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickled"})
    assert mmsoc("models", "pull", "blip2-opt-2.7b", "--output", tmp_path) == 2
    error = capsys.readouterr().err
    assert f"{NAME}@{COMMIT} holds no safetensors, only pytorch_model.bin" in error
    assert "--revision refs/pr/N" in error
    assert hub.transferred == []


@pytest.mark.parametrize(
    ("card", "stated"),
    [({"license": "other", "license_name": "llama2"}, "llama2"), ({}, ""), ({"license": ["mit", "bsd"]}, "mit, bsd")],
)
def test_the_licence_is_what_the_card_states(card, stated, hub, tmp_path):
    hub.publish("models", NAME, READ, **card)
    assert pulled(tmp_path)[0].weights.licence == stated


def test_a_token_goes_to_the_hub_and_nowhere_else(blip, mmsoc, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    blip.withheld.add("tokenizer.model")
    assert mmsoc("models", "pull", "blip2-opt-2.7b", "--output", tmp_path) == 2
    blip.withheld.clear()
    assert mmsoc("models", "pull", "blip2-opt-2.7b", "--output", tmp_path) == 0
    assert set(blip.tokens) == {"Bearer hf_secret"}
    printed = capsys.readouterr()
    assert "hf_secret" not in printed.out + printed.err
    assert not any(b"hf_secret" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_token_that_the_client_keeps_is_not_used(blip, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("hf_kept")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    pulled(tmp_path / "weights")
    assert blip.tokens == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mplug-owl2-7b", "answers through a server, which has its own weights"),
        ("demo-llava", "is made from installed Python packages: there is nothing to pull"),
        ("majority", "is a baseline without weights: there is nothing to pull"),
        ("blip2-opt-2.7", "Did you mean 'blip2-opt-2.7b'"),
    ],
)
def test_a_model_without_weights_on_a_hub_is_refused_before_anything_comes(name, said, blip, mmsoc, capsys, tmp_path):
    assert mmsoc("models", "pull", "blip2-opt-2.7b", name, "--output", tmp_path) == 2
    assert said in capsys.readouterr().err
    assert blip.asked == []


def test_a_revision_other_than_the_pinned_one_is_refused(monkeypatch):
    pinned = dataclasses.replace(get_model("blip2-opt-2.7b"), revision=COMMIT)
    monkeypatch.setattr("mmsoc_ray.models.pull.get_model", lambda name: pinned)
    assert wanted("blip2-opt-2.7b", None).revision == COMMIT
    with pytest.raises(ConfigurationError, match=f"--revision main: blip2-opt-2.7b is pinned to {COMMIT}"):
        wanted("blip2-opt-2.7b", "main")


def test_one_revision_for_two_models_is_refused(mmsoc, capsys, tmp_path):
    assert mmsoc("models", "pull", "a/b", "c/d", "--output", tmp_path, "--revision", "v1") == 2
    assert "--revision v1 belongs to one model, not to 2" in capsys.readouterr().err


def test_a_model_that_the_hub_does_not_have_is_named(hub, mmsoc, capsys, tmp_path):
    assert mmsoc("models", "pull", "nobody/nothing", "--output", tmp_path) == 2
    assert "nobody/nothing@main: the hub did not give it" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_named_with_the_remedy(blip, mmsoc, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert mmsoc("models", "pull", "blip2-opt-2.7b", "--output", tmp_path / "file") == 2
    assert f"cannot write {tmp_path}/file/{NAME}" in capsys.readouterr().err


def test_what_is_pulled_is_listed_and_a_torn_pull_hides_no_other(blip, mmsoc, capsys, tmp_path):
    pulled(tmp_path)
    shutil.copytree(tmp_path / NAME / COMMIT, tmp_path / "some" / "body" / NEXT)
    (tmp_path / "some" / "body" / NEXT / "config.json").unlink()
    assert mmsoc("models", "--weights", tmp_path) == 0
    listed = capsys.readouterr().out
    assert f"blip2-opt-2.7b: {NAME}\n  revision  {COMMIT}\n" in listed
    assert "licence   mit" in listed
    assert f"(not in the registry): some/body\n  cannot be used: {tmp_path}/some/body/{NEXT}/config.json" in listed


def test_the_list_of_pulled_models_is_had_as_json(blip, mmsoc, capsys, tmp_path):
    done, _ = pulled(tmp_path)
    assert mmsoc("models", "--weights", tmp_path, "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed == {"folder": done.folder, **json.loads(done.weights.model_dump_json())}


def test_where_nothing_is_pulled_the_command_that_pulls_is_named(mmsoc, capsys, tmp_path):
    assert mmsoc("models", "--weights", tmp_path) == 2
    assert f"mmsoc models pull NAME --output {tmp_path}" in capsys.readouterr().err
