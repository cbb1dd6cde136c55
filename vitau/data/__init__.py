"""From labelled frames to batches: splits, frozen snapshots, datasets."""
