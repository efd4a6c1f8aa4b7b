"""What the benchmark `peers` asks: the same pictures, questions and limits, in the files that each tool reads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.data.demo import demo_posts
from mmsoc_ray.models.checkpoints import demo_checkpoint
from mmsoc_ray.tasks import get_task, render

MAX_NEW_TOKENS: Mapping[str, int] = {"humor": 10, "sarcasm": 10, "offensiveness": 10, "sentiment": 16, "ocr": 24}
"""The five tasks of a meme, with the limits of the demo grid."""

POSTS_PER_UNIT = 25
"""So that a unit takes this project about ten seconds: its batches never leave one."""

Key = tuple[str, str]
"""(sample_id, task)."""


@dataclass(frozen=True)
class PeerData:
    """One set of requests.

    Attributes:
        folder: Holds ``shards`` and ``grid-<dtype>.yaml`` for mmsoc_ray, ``posts.parquet`` and a folder of tasks
            for each peer.
        checkpoint: The model's folder.
        prompts: What is asked, without the model's own frame, of each sample and task.
    """

    folder: Path
    checkpoint: Path
    prompts: Mapping[Key, str]

    @property
    def sample_ids(self) -> list[str]:
        """The pictures in their order."""
        return list(dict.fromkeys(sample_id for sample_id, _ in self.prompts))

    def grid(self, dtype: str, engines: int) -> Path:
        """Return the grid of mmsoc_ray for weights of this type and so many engines on two cores."""
        file = self.folder / f"grid-{dtype}.yaml"
        tasks = "".join(f"  {task}: {{max_new_tokens: {tokens}}}\n" for task, tokens in MAX_NEW_TOKENS.items())
        file.write_text(
            f"name: peers\ndata: {self.folder / 'shards'}\ndatasets: [peer_memes]\ntasks:\n{tasks}models:\n"
            f"  llava: {{checkpoint: {self.checkpoint}, settings: [zero_shot], dtype: {dtype}, "
            f"resources: {{actors: {engines}, threads: {2 // engines}}}}}\n"
        )
        return file


def write_data(folder: Path, posts: int) -> PeerData:
    """Write so many of the demo's memes, each with its five questions, for every tool."""
    memes = list(itertools.islice(demo_posts("demo_memes", "train"), posts))
    if len(memes) < posts:
        raise SystemExit(f"--posts {posts}: the demo has {len(memes)} memes to train on, of which these are taken")
    asked = [
        Post(meme.sample_id, "peer_memes", "test", meme.image, targets={t: meme.targets[t] for t in MAX_NEW_TOKENS})
        for meme in memes
    ]
    write_split(open_storage(folder / "shards"), "peer_memes", "test", asked, posts_per_unit=POSTS_PER_UNIT)
    prompts = {(p.sample_id, task): render(get_task(task), p, "zero_shot") for p in asked for task in MAX_NEW_TOKENS}
    _write_parquet(folder / "posts.parquet", asked, prompts)
    for tool, text in (("lm_eval", LM_EVAL_TASK), ("lmms_eval", LMMS_EVAL_TASK)):
        (folder / tool).mkdir()
        for task, tokens in MAX_NEW_TOKENS.items():
            content = text.format(task=task, tokens=tokens, file=folder / "posts.parquet")
            (folder / tool / f"peer_{task}.yaml").write_text(content)
    (folder / "lmms_eval" / "reading.py").write_text(LMMS_EVAL_FUNCTIONS)
    return PeerData(folder, demo_checkpoint("llava"), prompts)


def _write_parquet(file: Path, posts: list[Post], prompts: Mapping[Key, str]) -> None:
    """Write a Hugging Face data set: a picture is a struct of bytes and path, and a note in the schema says so."""
    pictures = [{"bytes": post.image, "path": None} for post in posts]
    columns: dict[str, pa.Array] = {
        "id": pa.array([post.sample_id for post in posts]),
        "image": pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    }
    for task in MAX_NEW_TOKENS:
        columns[f"prompt_{task}"] = pa.array([prompts[post.sample_id, task] for post in posts])
        columns[f"target_{task}"] = pa.array([post.targets[task][0] for post in posts])
    features = {name: {"dtype": "string", "_type": "Value"} for name in columns} | {"image": {"_type": "Image"}}
    note = json.dumps({"info": {"features": features}})
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": note}), file)


LM_EVAL_TASK = """\
task: peer_{task}
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_image: [image]
doc_to_text: "<image>{{{{prompt_{task}}}}}"
doc_to_target: "{{{{target_{task}}}}}"
generation_kwargs: {{until: [], do_sample: false, temperature: 0.0, max_gen_toks: {tokens}}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""

LMMS_EVAL_TASK = """\
task: peer_{task}
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function reading.visual
doc_to_text: !function reading.text_{task}
doc_to_target: target_{task}
process_results: !function reading.score
generation_kwargs: {{max_new_tokens: {tokens}, temperature: 0, do_sample: false, num_beams: 1}}
metric_list: [{{metric: kept, aggregation: mean, higher_is_better: true}}]
metadata: [{{version: 1.0}}]
"""

LMMS_EVAL_FUNCTIONS = """\
def visual(doc):
    return [doc["image"].convert("RGB")]


def score(doc, results):
    return {"kept": 1.0}
""" + "".join(f"\n\ndef text_{task}(doc):\n    return doc['prompt_{task}']\n" for task in MAX_NEW_TOKENS)
