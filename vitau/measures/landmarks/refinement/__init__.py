"""Refinement of the 68 points from pixels: brows, lids, nose and lips are localized in aligned patches of each half face."""
