"""A real S3 server on loopback: SeaweedFS, with a key that may write and one that may only read."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

WEED = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
BUCKET = "posts"
WRITER = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "secret-of-the-writer"}
READER = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret-of-the-reader"}
RIGHTS = {
    "admin": ["Admin", "Read", "List", "Tagging", "Write"],
    "writer": ["Read", "List", "Tagging", "Write"],
    "reader": ["Read", "List"],
}
WAIT_S = 90.0


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        endpoint: Its address.
        environment: Credentials with the right to write.
    """

    endpoint: str
    environment: dict[str, str]


def free_ports(count: int) -> list[int]:
    """Return ports of which the one 10,000 above is free, too: SeaweedFS takes that for gRPC."""
    found: list[int] = []
    with ExitStack() as held:
        for port in range(21_000 + os.getpid() % 5_000, 40_000):
            sockets = [closing(socket.socket()), closing(socket.socket())]
            try:
                with ExitStack() as pair:
                    for opened, number in zip(sockets, (port, port + 10_000), strict=True):
                        pair.enter_context(opened).bind(("127.0.0.1", number))
                    held.push(pair.pop_all())
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError("no free ports")


def wait_for_bucket(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Make the bucket as soon as the server can."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="admin",
        aws_secret_access_key="secret-of-the-admin",
        config=Config(retries={"max_attempts": 1}),
    )
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="up", Body=b"")
            client.delete_object(Bucket=BUCKET, Key="up")
        except (BotoCoreError, ClientError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        else:
            return


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """Run the server with its files in a folder; ``WEED`` must be there."""
    assert WEED is not None
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": f"secret-of-the-{name}"}], "actions": rights}
        for name, rights in RIGHTS.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    master, volume, filer, s3 = free_ports(4)
    command = [WEED, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += [f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3"]
    command += [f"-s3.port={s3}", f"-s3.config={folder}/s3.json", "-volume.max=20", "-master.volumeSizeLimitMB=64"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # their fixed ports would forbid a second server
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, start_new_session=True)
    try:
        wait_for_bucket(f"http://127.0.0.1:{s3}", process, log)
        yield Server(f"http://127.0.0.1:{s3}", WRITER)
    finally:
        with suppress(ProcessLookupError):  # where it did not start
            os.killpg(process.pid, signal.SIGKILL)  # a polite end takes it half a minute
        process.wait()


def set_environment(monkeypatch: pytest.MonkeyPatch, endpoint: str, credentials: dict[str, str]) -> None:
    """Tell this process, and those that it starts, of a server and who they are to it."""
    for name, value in {**credentials, "AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
