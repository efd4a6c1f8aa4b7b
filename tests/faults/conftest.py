"""A cluster whose engines can be made to fail, shared by the tests of a module."""

import pytest
from fault_kit import Faults, Job, cluster


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The folder that steers the faulty engines."""
    return Faults(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def faulty_cluster(faults):
    """A cluster of one node without GPUs."""
    with cluster(faults) as started:
        yield started


@pytest.fixture
def job(faulty_cluster, faults, tmp_path):
    """Make jobs on the cluster from a grid; what they left running is ended."""
    faults.clear()
    made = []

    def make(grid, name="out", **environment):
        made.append(Job(tmp_path / name, grid, faulty_cluster.address, environment))
        return made[-1]

    yield make
    for one in made:
        one.kill()
    faults.clear()
