"""Findings: what a change is made of."""
