"""Run by test_memory.py in a process of its own: the transformers engine under a limit of its address space.

Prints as JSON: the sizes of the batches that were tried and the errors of the posts, without and with the limit.
"""

import json
import resource
import runpy
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from mmsoc_ray.engines.protocol import PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import ModelEntry

CONFTEST = Path(__file__).parents[1] / "engines" / "conftest.py"
WIDTH = 65536  # of the hidden layer: 256 KiB a token, so that tokens take memory and weights do not
ROOM = 256 * 2**20
LONG = 700
SHORT = "is this humorous"


def save(folder):
    tokenizer = runpy.run_path(str(CONFTEST))["train_tokenizer"](())
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=2048,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def answer(engine, posts):
    tried = []
    generate = TransformersEngine._generate_whole

    def counted(self, requests):
        tried.append(len(requests))
        return generate(self, requests)

    TransformersEngine._generate_whole = counted
    try:
        found = {answer.post_index: answer.error for answer in engine.answer(posts)}
    finally:
        TransformersEngine._generate_whole = generate
    return {"tried": tried, "errors": [found[at] for at in range(len(posts))]}


def limit_address_space():
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        entry = ModelEntry("wide", "wide", 0.0, "transformers", batch_tokens=10**6, dtype="float32")
        engine = TransformersEngine(Path(folder), entry, threads=1)
    texts = [f"{SHORT} {at}" for at in range(15)]
    texts.insert(7, "meme " * LONG)
    posts = [
        PreparedPost(f"p{at}", None, None, (Request("text_only", "humor", text, False, 2),))
        for at, text in enumerate(texts)
    ]
    free = answer(engine, posts)
    limit_address_space()
    json.dump({"free": free, "limited": answer(engine, posts)}, sys.stdout)


if __name__ == "__main__":
    main()
