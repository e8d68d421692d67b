"""Deciding what to find out, and writing down what is expected before it is known."""
