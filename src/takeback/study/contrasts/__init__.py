"""Contrasts of a study."""
