"""Fine-tune what a grid's fine-tuned settings lack, then evaluate the grid: base models beside their adapters.

    python jobs/finetune_grid.py --output ROOT
    ray job submit --working-dir . -- python jobs/finetune_grid.py GRID --output s3://BUCKET/PREFIX --run-id NAME

Without a grid it fine-tunes the demo models on the demo data. Adapters that exist below ROOT are used again. The same
command again resumes, in the middle of a training too. The options are those of ``mmsoc run``.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # a submitted job runs from the uploaded folder, where nothing is installed

from mmsoc_ray.cli import main  # noqa: E402

DEMO_GRID = REPOSITORY / "grids" / "finetune_demo.yaml"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        arguments = [str(DEMO_GRID), *arguments]
    main([*arguments, "--with-training"], command="run")
