import struct

import pytest
from tensorboardX.proto.event_pb2 import Event
from toy_job import toy_job

from mmsoc_ray.data import LocalStorage
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.training import train_adapter
from mmsoc_ray.training.adapters import CurvePoint
from mmsoc_ray.training.trackers import check_trackers, followed, numbers


def events(folder):
    """Read TensorBoard's files: each record is a length, its checksum, an event, and its checksum."""
    for file in sorted(folder.glob("events*")):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            yield Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length


@pytest.fixture
def job(toy):
    return toy_job(toy.data, toy.checkpoint)


@pytest.fixture
def mlflow_client(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'mlflow'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return mlflow.MlflowClient()


def the_run(client):
    (experiment,) = [one for one in client.search_experiments() if one.name == "mmsoc_ray"]
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_trackers_are_told_the_curve_of_the_card(job, tmp_path, mlflow_client):
    root = LocalStorage(tmp_path / "root")
    card = train_adapter(job, root, note=lambda _: None, trackers=("tensorboard", "mlflow"), in_process=True)
    expected = [(point.step, name, value) for point in card.curves for name, value in numbers(point).items()]
    written = [
        (event.step, value.tag, value.simple_value)
        for event in events(root.root / "tensorboard" / job.name)
        for value in event.summary.value
    ]
    assert [one[:2] for one in written] == [one[:2] for one in expected]
    assert [one[2] for one in written] == pytest.approx([one[2] for one in expected])
    run = the_run(mlflow_client)
    assert (run.info.run_name, run.info.status) == (job.name, "FINISHED")
    assert run.data.params["rank"] == "4"
    losses = [(metric.step, metric.value) for metric in mlflow_client.get_metric_history(run.info.run_id, "loss")]
    assert losses == [(point.step, point.loss) for point in card.curves]


def test_a_training_that_goes_on_is_the_same_run(job, tmp_path, mlflow_client):
    def train(point):
        with followed(["mlflow"], job, "root", print) as tell:
            tell(point)
            if point.step == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(CurvePoint(step=1, loss=2.0))
    assert the_run(mlflow_client).info.status == "FAILED"
    train(CurvePoint(step=2, loss=1.0))
    run = the_run(mlflow_client)
    history = mlflow_client.get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]
    assert run.info.status == "FINISHED"


def test_weights_and_biases_gets_a_run_of_its_own(job, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    notes = []
    with followed(["wandb"], job, "root", notes.append) as tell:
        tell(CurvePoint(step=1, loss=2.0))
    assert notes == []
    assert list(tmp_path.glob(f"wandb/offline-run-*-{job.name}"))


def test_a_tracker_that_fails_ends_nothing(job, tmp_path):
    (tmp_path / "tensorboard").write_text("in the way")
    notes = []
    with followed(["tensorboard"], job, str(tmp_path), notes.append) as tell:
        tell(CurvePoint(step=1, loss=2.0))
    assert len(notes) == 1
    assert notes[0].startswith("tensorboard failed (")


def test_an_unknown_tracker_or_one_that_is_not_installed_is_refused(monkeypatch):
    with pytest.raises(ConfigurationError, match="Did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    monkeypatch.setattr("mmsoc_ray.training.trackers.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'mmsoc-ray\[mlflow\]'"):
        check_trackers(["mlflow"])


def test_what_was_not_measured_is_not_told():
    assert numbers(CurvePoint(step=1, validation={"d/t/m": 0.5})) == {"validation/d/t/m": 0.5}
