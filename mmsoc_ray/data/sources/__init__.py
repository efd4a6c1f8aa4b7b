"""Sources of posts: tables and pictures of any origin, turned into shards by a short YAML mapping."""

from mmsoc_ray.config.mapping import (
    HEAD_SPLITS,
    PictureColumn,
    SourceMapping,
    SplitColumn,
    TargetColumn,
    load_mapping,
    published_mappings,
    with_splits,
)
from mmsoc_ray.data.sources.hub import HubCopy, fetch_from_hub
from mmsoc_ray.data.sources.mismatch import mapping_yaml
from mmsoc_ray.data.sources.prepare import Prepared, prepare_source
from mmsoc_ray.data.sources.report import Dropped, Reason, Report

__all__ = [
    "HEAD_SPLITS",
    "Dropped",
    "HubCopy",
    "PictureColumn",
    "Prepared",
    "Reason",
    "Report",
    "SourceMapping",
    "SplitColumn",
    "TargetColumn",
    "fetch_from_hub",
    "load_mapping",
    "mapping_yaml",
    "prepare_source",
    "published_mappings",
    "with_splits",
]
