import pytest
import ray.exceptions

from mmsoc_ray.grid.executions import explained
from mmsoc_ray.grid.retries import StreamStalledError

DIED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: MapWorker(EngineActor)\n\tactor_id: 00\n"
    "The actor is dead because its node has died. Node Id: 1\nThe actor never ran."
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ray.exceptions.RayActorError(error_msg=DIED),
            "RayActorError: The actor died unexpectedly before finishing this task. class_name: MapWorker(EngineActor) "
            "The actor is dead because its node has died. Node Id: 1 The actor never ran.",
        ),
        (ray.exceptions.RaySystemError("gone\nwith a traceback"), "RaySystemError: System error: gone"),
        (ray.exceptions.RayError(), "RayError: "),
    ],
)
def test_a_stall_says_which_actor_died_and_why_in_one_line(error, said):
    found = explained(error, timeout_s=1)
    assert isinstance(found, StreamStalledError)
    assert str(found) == said


@pytest.mark.parametrize(("mode", "advised"), [("token", True), ("disabled", False), (None, False)])
def test_actors_of_a_cluster_that_knows_no_token_are_ended_for_a_reason_that_is_told(mode, advised, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    reason = "The actor is dead because all references to the actor were removed including lineage ref count."
    found = explained(ray.exceptions.RayActorError(error_msg=f"The actor died.\n{reason}"), timeout_s=1)
    assert ("Set it for both or for neither." in str(found)) is advised
