"""The catalog: subjects, clips, labels, snapshots, trainings, promotions and the append-only label ledger, in SQL."""
