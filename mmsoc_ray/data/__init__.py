"""Posts, shards, units and the storage that holds them."""

from mmsoc_ray.data.pictures import DecompressionBomb, PictureError, decode_picture
from mmsoc_ray.data.posts import POST_SCHEMA, Post
from mmsoc_ray.data.s3 import S3Storage, endpoint_for_nodes, use_endpoint
from mmsoc_ray.data.shards import SplitManifest, SplitWriter, read_manifest, split_folder, write_split
from mmsoc_ray.data.storage import LocalStorage, Storage, open_storage, write_changed
from mmsoc_ray.data.stored_file import StoredFile
from mmsoc_ray.data.units import (
    Unit,
    plan_units,
    read_pictures,
    read_targets,
    read_texts,
    read_unit,
    unit_id,
    unit_posts,
)

__all__ = [
    "POST_SCHEMA",
    "DecompressionBomb",
    "LocalStorage",
    "PictureError",
    "Post",
    "S3Storage",
    "SplitManifest",
    "SplitWriter",
    "Storage",
    "StoredFile",
    "Unit",
    "decode_picture",
    "endpoint_for_nodes",
    "open_storage",
    "plan_units",
    "read_manifest",
    "read_pictures",
    "read_targets",
    "read_texts",
    "read_unit",
    "split_folder",
    "unit_id",
    "unit_posts",
    "use_endpoint",
    "write_changed",
    "write_split",
]
