"""Folds job events into the read model."""
