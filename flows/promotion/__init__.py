"""The steps around a promotion: registered models, evaluation of a challenger, retrain trigger."""
