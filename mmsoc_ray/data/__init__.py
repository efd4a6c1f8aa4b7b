"""Posts, shards, units and the storage that holds them."""

from mmsoc_ray.data.pictures import PictureError, decode_picture
from mmsoc_ray.data.posts import POST_SCHEMA, Post
from mmsoc_ray.data.shards import SplitManifest, read_manifest, split_folder, write_split
from mmsoc_ray.data.storage import LocalStorage, S3Storage, Storage, open_storage
from mmsoc_ray.data.units import Unit, plan_units, read_targets, read_texts, read_unit

__all__ = [
    "POST_SCHEMA",
    "LocalStorage",
    "PictureError",
    "Post",
    "S3Storage",
    "SplitManifest",
    "Storage",
    "Unit",
    "decode_picture",
    "open_storage",
    "plan_units",
    "read_manifest",
    "read_targets",
    "read_texts",
    "read_unit",
    "split_folder",
    "write_split",
]
