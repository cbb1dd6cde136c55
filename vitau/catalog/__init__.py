"""Rows in SQL: subjects, clips, labels, snapshots, trainings, promotions, and the append-only label ledger."""
