"""Data: readers, filters, splits, known data sets and a synthetic generator.

Events read from files are `Interactions`; filtered, split and renumbered they become a `Dataset`, which models train on.
"""

from .build import build_dataset
from .dataset import Dataset
from .download import DownloadError
from .edges import Edges
from .interactions import Interactions
from .load import load_dataset
from .make import make_dataset
from .presplit import read_lightgcn, read_split
from .published import published_fingerprint
from .reading.frames import read_frame
from .reading.movielens import read_movielens
from .reading.readers import read_csv, read_npz, read_parquet
from .reading.recbole import read_recbole
from .registry import (
    DatasetInfo,
    DatasetUnavailableError,
    available_datasets,
    cache_folder,
)
from .report import DatasetReport
from .spec import DataSpec
from .splits import split_leave_k_out, split_new_items, split_random, split_temporal
from .synthetic import synthetic_edges, synthetic_interactions

__all__ = [
    "DataSpec",
    "Dataset",
    "DatasetInfo",
    "DatasetReport",
    "DatasetUnavailableError",
    "DownloadError",
    "Edges",
    "Interactions",
    "available_datasets",
    "build_dataset",
    "cache_folder",
    "load_dataset",
    "make_dataset",
    "published_fingerprint",
    "read_csv",
    "read_frame",
    "read_lightgcn",
    "read_movielens",
    "read_npz",
    "read_parquet",
    "read_recbole",
    "read_split",
    "split_leave_k_out",
    "split_new_items",
    "split_random",
    "split_temporal",
    "synthetic_edges",
    "synthetic_interactions",
]
