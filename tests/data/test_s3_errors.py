import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
)

from mmsoc_ray.data.s3_errors import explained, passes
from mmsoc_ray.errors import StorageError
from mmsoc_ray.patience import OutOfPatienceError

URL = "http://name:hidden-word@host:1/bucket/key"


def refused(status: int, code: str, message: str = "said the server") -> ClientError:
    """What boto3 raises of an answer."""
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


@pytest.mark.parametrize(
    "error",
    [
        refused(503, "SlowDown"),
        refused(500, "InternalError"),
        refused(502, "502"),  # of a HEAD request, which has no body
        refused(429, "TooManyRequests"),
        refused(409, "ConditionalRequestConflict"),
        refused(400, "RequestTimeout"),
        refused(400, "BadDigest"),
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
    ids=str,
)
def test_what_may_be_gone_at_the_next_try_passes(error):
    assert passes(error)


@pytest.mark.parametrize(
    "error",
    [
        refused(403, "AccessDenied"),
        refused(403, "SignatureDoesNotMatch"),
        refused(404, "NoSuchBucket"),
        refused(404, "NoSuchKey"),
        refused(412, "PreconditionFailed"),
        refused(501, "NotImplemented"),
        refused(301, "PermanentRedirect"),
        NoCredentialsError(),
    ],
    ids=str,
)
def test_what_no_repetition_mends_does_not(error):
    assert not passes(error)


def test_the_message_holds_what_could_not_be_done_why_for_how_long_and_the_remedy():
    error = explained("read", "s3://b/k", OutOfPatienceError(31, 178.4, refused(503, "SlowDown", "Reduce\nyour rate.")))
    assert str(error) == (
        "cannot read s3://b/k: SlowDown: Reduce your rate (31 tries in 178 s). "
        "See that the server is well, then run again."
    )
    assert isinstance(error, StorageError)


def test_credentials_in_an_address_are_left_out():
    said = str(explained("read", "s3://b/k", EndpointConnectionError(endpoint_url=URL)))
    assert "//host:1/bucket/key" in said
    assert "hidden-word" not in said


def test_an_absent_object_is_a_file_that_is_not_there():
    error = explained("read", "s3://b/k", refused(404, "NoSuchKey"))
    assert isinstance(error, FileNotFoundError)
    assert error.filename == "s3://b/k"
