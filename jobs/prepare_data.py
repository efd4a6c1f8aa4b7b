"""Turn a source of posts into shards that a grid can name.

    python jobs/prepare_data.py prepare MAPPING.yaml --source FOLDER --output DATA
    python jobs/prepare_data.py prepare memotion --source s3://BUCKET/memotion --output s3://BUCKET/data --strict
    python jobs/prepare_data.py demo --output DATA
    python jobs/prepare_data.py twitter-sarcasm --source FOLDER --output DATA

DATA is a folder or s3://BUCKET/PREFIX. The same source gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a submitted job runs from the uploaded folder

from mmsoc_ray.cli import main

if __name__ == "__main__":
    main(command="data")
