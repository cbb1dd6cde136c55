"""Our work beside an honest baseline, measured in one run."""
