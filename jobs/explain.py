"""Ask a teacher why the labels of the training splits hold; what can be learnt becomes a file for recipes.

    python jobs/explain.py --limit 10
    ray job submit --working-dir . -- python jobs/explain.py GRID --teacher MODEL --output s3://BUCKET/PREFIX

Without a grid the demo's small model explains the demo data. The same command again resumes, or asks nothing. The
options are those of ``mmsoc explain``.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # a submitted job runs from the uploaded folder, where nothing is installed

from mmsoc_ray.cli import main  # noqa: E402

DEMO_GRID = REPOSITORY / "grids" / "explain_demo.yaml"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        arguments = [str(DEMO_GRID), *arguments]
    main(arguments, command="explain")
