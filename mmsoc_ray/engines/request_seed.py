"""Where the random numbers of a sampled answer begin."""

from __future__ import annotations

import hashlib
import json

from mmsoc_ray.engines.protocol import Request


def request_seed(seed: int, request: Request, image_sha256: str | None) -> int:
    """Return the seed of one answer: 63 bits that depend on what is asked, not on where, when or beside what.

    Of what the key of an answer holds, prompt and picture take part. The rest does not: a longer limit goes on with the
    same answer, scored labels leave it as it is, and at two temperatures, of two sizes or with other pictures of the
    same examples the same luck meets other probabilities. A round of self-improvement has the last answer in its
    prompt.

    Args:
        seed: The decoding's.
        request: What is asked.
        image_sha256: Digest of the post's picture.
    """
    content = [seed, request.prompt, image_sha256 if request.with_image else None]
    return int.from_bytes(hashlib.sha256(json.dumps(content).encode()).digest()[:8]) >> 1
