"""The catalog's tables in SQLAlchemy, by topic. The migrations upgrade a database to this form."""

from vitau.catalog.tables.base import metadata
from vitau.catalog.tables.labels import (
    comparisons,
    consensus,
    labels,
    ledger,
    ledger_details,
    merges,
    priorities,
    pulls,
    seen_annotations,
    unusable_frames,
)
from vitau.catalog.tables.models import promotions, scores, snapshots, splits, trainings
from vitau.catalog.tables.operations import claims, erased_content, erasures, key_fingerprints, lease_tokens, objects, rekeyings
from vitau.catalog.tables.recordings import (
    clips,
    dead_letters,
    frame_tables,
    ingest_claims,
    skipped,
    source_urls,
    statements,
    subjects,
    url_failures,
)

__all__ = [
    "claims",
    "clips",
    "comparisons",
    "consensus",
    "dead_letters",
    "erased_content",
    "erasures",
    "frame_tables",
    "ingest_claims",
    "key_fingerprints",
    "labels",
    "lease_tokens",
    "ledger",
    "ledger_details",
    "merges",
    "metadata",
    "objects",
    "priorities",
    "promotions",
    "pulls",
    "rekeyings",
    "scores",
    "seen_annotations",
    "skipped",
    "snapshots",
    "source_urls",
    "splits",
    "statements",
    "subjects",
    "trainings",
    "unusable_frames",
    "url_failures",
]
