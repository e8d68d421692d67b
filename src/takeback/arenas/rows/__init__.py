"""Arenas made of a user's own rows: prompts, answers to choose from, rewards."""
