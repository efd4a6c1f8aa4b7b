"""Sources in the layouts that the published mappings expect, and in every form of a table of one's own."""

import io
import json
import tarfile

SPLITS = ("train", "train", "validation", "test")


def hf_picture(small, number):
    return {"bytes": small(number), "path": f"{number}.png"}


def memotion_labels(number, humor="humor", sentiment="sentiment"):
    return {
        "text_ocr": f"WORDS {number}",
        "text_corrected": f"words {number}",
        humor: ("hilarious", "very_funny", "funny", "not_funny")[number % 4],
        "sarcasm": ("general", "twisted_meaning", "very_twisted", "not_sarcastic")[number % 4],
        "offensive": ("slight", "very_offensive", "hateful_offensive", "not_offensive")[number % 4],
        "motivational": "motivational",
        sentiment: ("very_negative", "negative", "neutral", "very_positive")[number % 4],
    }


def write_memotion(source, small):
    rows = [
        {"image": hf_picture(small, n), **memotion_labels(n), "split": ("train", "train", "val", "test")[n % 4]}
        for n in range(8)
    ]
    source.table("data/train-00000-of-00002.parquet", rows[:5])
    source.table("data/train-00001-of-00002.parquet", rows[5:])


def write_memotion_7k(source, small):
    rows = [
        {"": n, "image_name": f"image_{n}.png", **memotion_labels(n, "humour", "overall_sentiment")} for n in range(10)
    ]
    source.table("labels.csv", rows)
    source.table("labels.xlsx", rows)
    for n in range(10):
        source.write(f"images/image_{n}.png", small(n))


def write_labelled_parquet(source, small):
    rows = [{"image": hf_picture(small, n), "text": f"text {n}", "label": n % 2, "split": SPLITS[n]} for n in range(4)]
    source.table("data/train-00000-of-00001.parquet", rows)


def write_hateful_memes_challenge(source, small):
    for file, numbers in (("train.jsonl", (1, 2)), ("dev.jsonl", (3,))):
        source.table(file, [{"id": n, "img": f"img/0{n}.png", "label": n % 2, "text": f"t {n}"} for n in numbers])
    for n in (1, 2, 3):
        source.write(f"img/0{n}.png", small(n))


def write_youtube(source, small):
    rows = [
        {
            "id": f"v{n}",
            "image": hf_picture(small, n),
            "title": f"title {n}",
            "description": f"about {n}",
            "topics": ["Music", f"Topic {n}"],
            "split": SPLITS[n % 4],
        }
        for n in range(10)
    ]
    source.table("data/train-00000-of-00001.parquet", rows)


def write_youtube_sheet(source, small):
    topics = "['Music', 'Jazz']"
    rows = [{"id": f"v{n}", "title": f"title {n}", "description": "", "topics": topics} for n in range(10)]
    source.table("YouTube2000.xlsx", rows)
    for n in range(10):
        source.write(f"img/v{n}.jpg", small(n))


def write_fakenewsnet(source, small):
    for name in ("gossipcop", "politifact"):
        for label in ("fake", "real"):
            ids = "\t".join(["123456789"] * 20_000)
            row = {"id": f"{name}-{label}", "news_url": "example.com/a", "title": f"{label} news", "tweet_ids": ids}
            source.table(f"{name}_{label}.csv", [row])
            source.write(f"images/{name}-{label}.jpg", small(3))


def write_fakenewsnet_multimodal(source, small):
    for name in ("gossip", "politi"):
        for split, label in (("train", 1), ("test", 0)):
            row = {"": 0, "text": f"{split} news", "image": "a.jpg", "label": label}
            source.table(f"{name}_{split}.csv", [row])
            source.write(f"Images/{name}_{split}/a.jpg", small(label))


PUBLISHED = {
    "fakenewsnet_multimodal_gossipcop": write_fakenewsnet_multimodal,
    "fakenewsnet_multimodal_politifact": write_fakenewsnet_multimodal,
    "fakenewsnet_gossipcop": write_fakenewsnet,
    "fakenewsnet_politifact": write_fakenewsnet,
    "gossipcop": write_labelled_parquet,
    "hateful_memes": write_labelled_parquet,
    "hateful_memes_challenge": write_hateful_memes_challenge,
    "memotion": write_memotion,
    "memotion_7k": write_memotion_7k,
    "memotion_7k_xlsx": write_memotion_7k,
    "politifact": write_labelled_parquet,
    "youtube2000": write_youtube,
    "youtube2m": write_youtube,
    "youtube_sheet": write_youtube_sheet,
}

GENERIC = """\
dataset: my_memes
files: {test: labels.FORM}
sample_id: id
image: {column: file, folder: pictures}
text: caption
targets:
  humor: {column: funny, labels: {1: humorous, 0: not_humorous}}
"""
TARRED = """\
dataset: my_memes
files: {test: "labels-*.tar"}
sample_id: __key__
image: png
text: json.caption
targets:
  humor: {column: cls, labels: {1: humorous, 0: not_humorous}}
"""


def write_table(source, small, form):
    rows = [{"id": f"m{n}", "file": f"{n}.png", "caption": f"caption {n}", "funny": n % 2} for n in range(4)]
    source.table(f"labels.{form}", rows)
    for n in range(3):  # one is missing
        source.write(f"pictures/{n}.png", small(n))


def packed(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def tar_sample(small, number, caption=None, cls=b"1\n"):
    caption = json.dumps({"caption": caption or f"caption {number}"}).encode()
    return [(f"a/{number}.png", small(number)), (f"a/{number}.json", caption), (f"a/{number}.cls", cls)]


def write_tars(source, small, form):
    for n in range(2):
        source.write(f"labels-{n}.tar", packed([*tar_sample(small, n), (f"a/{n + 5}.json", b"{")]))


OWN = {
    **{form: (GENERIC.replace("FORM", form), write_table) for form in ("csv", "tsv", "xlsx", "jsonl", "parquet")},
    "tar": (TARRED, write_tars),
}
"""Form of a table to its mapping and to what writes it."""


def write_layout(name, source, small):
    """Write the source of a published mapping or of a form; return the mapping: its name, or its YAML."""
    if name in PUBLISHED:
        PUBLISHED[name](source, small)
        return name
    mapping, write = OWN[name]
    write(source, small, name)
    return mapping
