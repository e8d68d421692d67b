"""Streams of sparse deltas: whole models now and then, and for each step between them what it changed."""
