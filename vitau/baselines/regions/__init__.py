"""Methods that answer which regions are affected."""
