"""Search indexes of tables in use: made, made again under other keys, and dropped. See ``build.py``."""

from sqlalchemy_cmk.rekey.indexes.build import build_index, expand_index, rebuild_index
from sqlalchemy_cmk.rekey.indexes.going import drop_index, finish_rotation
from sqlalchemy_cmk.rekey.indexes.rotating import finish_builds, rotate_indexes
from sqlalchemy_cmk.rekey.indexes.rotation import next_purpose
from sqlalchemy_cmk.rekey.indexes.spec import IndexSpec
from sqlalchemy_cmk.rekey.indexes.work import IndexWork

__all__ = [
    "IndexSpec",
    "IndexWork",
    "build_index",
    "drop_index",
    "expand_index",
    "finish_builds",
    "finish_rotation",
    "next_purpose",
    "rebuild_index",
    "rotate_indexes",
]
