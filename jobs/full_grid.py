"""Evaluate a grid: shards of posts in, one results table out.

    python jobs/full_grid.py
    ray job submit --working-dir . -- python jobs/full_grid.py GRID --output s3://BUCKET/PREFIX --run-id NAME

Without a grid it runs the demo. The same command again resumes a run, or says that nothing is left to do. The adapters
that fine-tuned settings lack are trained first with ``--with-training``. The options are those of ``mmsoc run``.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # a submitted job runs from the uploaded folder, where nothing is installed

from mmsoc_ray.cli import main  # noqa: E402

DEMO_GRID = REPOSITORY / "grids" / "demo.yaml"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        arguments = [str(DEMO_GRID), *arguments]
    main(arguments, command="run")
