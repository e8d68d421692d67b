"""A reward in TRL's signature: short answers that end with an exclamation mark."""


def short_and_glad(completions, **_):
    """Return 1 for one glad sentence of at most eight words, less the longer it is or without its mark."""
    texts = [one[0]["content"].strip() for one in completions]
    return [0.5 * text.endswith("!") + 0.5 * min(1, 8 / max(1, len(text.split()))) for text in texts]
