"""Cross-validation: folds of protocols, their predictions, tables and report."""
