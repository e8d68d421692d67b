"""What an answer is worth: a reward of one's own."""


def cheerful(completions, **kwargs):
    """Short answers that end with an exclamation mark."""
    texts = [one if isinstance(one, str) else one[0]["content"] for one in completions]
    return [0.5 * text.rstrip().endswith("!") + 0.5 * (len(text.split()) <= 8) for text in texts]
