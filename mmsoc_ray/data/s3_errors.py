"""What goes wrong with an S3 server: which failures pass, and what is said of those that stay."""

from __future__ import annotations

import errno
import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from mmsoc_ray.errors import StorageError
from mmsoc_ray.patience import OutOfPatienceError

LIBRARY_ERRORS = (ClientError, BotoCoreError, ResponseParserError, HTTPError)
"""All that boto3 raises of a request, the body of an answer included."""

TAKEN = ("PreconditionFailed", "412")
ABSENT = ("404", "NoSuchKey", "NotFound")
_BROKEN = (
    HTTPClientError,
    ConnectionError,
    IncompleteReadError,
    FlexibleChecksumError,
    CredentialRetrievalError,
    ResponseParserError,
    HTTPError,
)
"""A connection that fails or is cut, an answer that is short, garbled or fails its checksum, a role that is away."""

_PASSING_STATUS = (408, 409, 429)
_PASSING_CODES = ("SlowDown", "RequestTimeout", "RequestLimitExceeded", "Throttling", "BadDigest", "IncompleteBody")
"""Of Amazon's list of error codes (API reference, "Error responses"), those below 500 that a repetition mends: 409 is a
conflict with another writer's unfinished request."""

_RIGHTS = "Give the node's role or the key in the environment the right to do this (deploy/iam-nodes.json)."
_REMEDIES = {
    "NoSuchBucket": "Create the bucket, or mend its name.",
    "AccessDenied": _RIGHTS,
    "403": _RIGHTS,
    "InvalidAccessKeyId": "The server does not know the key in the environment (AWS_ACCESS_KEY_ID).",
    "SignatureDoesNotMatch": "The secret in the environment (AWS_SECRET_ACCESS_KEY) does not belong to the key.",
    "NoCredentialsError": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the node a role.",
    "ExpiredToken": "The credentials in the environment have expired; renew them.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "NotImplemented": "The server cannot do this. Writing needs one with conditional writes (If-None-Match).",
    "PermanentRedirect": "The bucket is in another region; set AWS_REGION.",
    "PreconditionFailed": "It was replaced while it was read; run again.",
    "EndpointConnectionError": "Nothing answers there; see AWS_ENDPOINT_URL_S3 or --s3-endpoint.",
    "ConnectTimeoutError": "Nothing answers there; see AWS_ENDPOINT_URL_S3 or --s3-endpoint.",
    "ResponseParserError": "What answers there may be no S3 server; see AWS_ENDPOINT_URL_S3 or --s3-endpoint.",
}
_WAIT = "See that the server is well, then run again."


def code_of(error: Exception) -> str:
    """Return the server's error code, or the name of the library's error."""
    if isinstance(error, ClientError):
        return str(error.response["Error"].get("Code", "unknown"))
    return type(error).__name__


def passes(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if not isinstance(error, ClientError):
        return isinstance(error, _BROKEN)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return (status >= 500 and status != 501) or status in _PASSING_STATUS or code_of(error) in _PASSING_CODES


def explained(action: str, address: str, error: Exception) -> OSError:
    """Return the error that says what could not be done to which object, why, and what to do about it."""
    last = error.last if isinstance(error, OutOfPatienceError) else error
    code = code_of(last)
    if code in ABSENT:
        return FileNotFoundError(errno.ENOENT, "no such object", address)
    message = last.response["Error"].get("Message", "") if isinstance(last, ClientError) else str(last)
    said = ": ".join(part for part in (code, _without_secrets(message)) if part)
    waited = f" ({error})" if isinstance(error, OutOfPatienceError) else ""
    remedy = _REMEDIES.get(code, _WAIT if waited else "")
    return StorageError(f"cannot {action} {address}: {said.removesuffix('.')}{waited}. {remedy}".rstrip())


def _without_secrets(message: str) -> str:
    """Leave out credentials inside an address that the environment named."""
    return re.sub(r"//[^/@\s]*@", "//", " ".join(message.split()))
