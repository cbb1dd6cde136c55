"""The page of a labeling manager: progress, agreement, disagreements with pictures, and the consensus as files."""
