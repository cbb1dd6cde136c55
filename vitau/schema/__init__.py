"""The types of the domain, the columns of its tables, and the records of the label ledger.

All packages share them, and `labeling` imports little else of `vitau`. They import the standard library only.
"""

from vitau.schema.answers import Comparison, LedgerEntry, LedgerRow, Mark, PullState, SeenAnnotation
from vitau.schema.cells import restored_cell, safe_cell
from vitau.schema.columns import FRAME_COLUMNS, SCORE_COLUMNS, SNAPSHOT_COLUMNS, Column
from vitau.schema.domain import (
    AU,
    AUS,
    CROP_SIZE,
    EMBEDDING_SIZE,
    MIRROR,
    NUM_LANDMARKS,
    PAPER_AUS,
    REGION_NAMES,
    Clip,
    Cohort,
    Protocol,
    QuarantineReason,
    RegionLabels,
    Side,
    Skipped,
    Snapshot,
    Split,
    Stage,
    Subject,
    all_names,
    canonical_name,
    is_erased,
    tombstone,
)
from vitau.schema.gate import FrameLimits, failed_limits

__all__ = [
    "AU",
    "AUS",
    "CROP_SIZE",
    "EMBEDDING_SIZE",
    "FRAME_COLUMNS",
    "MIRROR",
    "NUM_LANDMARKS",
    "PAPER_AUS",
    "REGION_NAMES",
    "SCORE_COLUMNS",
    "SNAPSHOT_COLUMNS",
    "Clip",
    "Cohort",
    "Column",
    "Comparison",
    "FrameLimits",
    "LedgerEntry",
    "LedgerRow",
    "Mark",
    "Protocol",
    "PullState",
    "QuarantineReason",
    "RegionLabels",
    "SeenAnnotation",
    "Side",
    "Skipped",
    "Snapshot",
    "Split",
    "Stage",
    "Subject",
    "all_names",
    "canonical_name",
    "failed_limits",
    "is_erased",
    "restored_cell",
    "safe_cell",
    "tombstone",
]
