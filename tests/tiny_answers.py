"""A tiny language model whose answers can be enumerated: six tokens, answers of three at most."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from models import randomised

WORDS = ("<s>", "<end>", "a", "b", "c", "d")
END = 1
MOST = 3

REWARD = '''
def good(completions, **_):
    """Count the letters a, less a quarter for each d."""
    return [text.split().count("a") - 0.25 * text.split().count("d") for text in completions]


def kinds(completions, **_):
    """Name answers with a b."""
    return ["with b" if "b" in text.split() else None for text in completions]
'''

Floats = np.ndarray


def model(seed: int = 0) -> transformers.PreTrainedModel:
    """Build a Llama of two layers that is sure of something."""
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(WORDS),
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=END,
        pad_token_id=None,
        tie_word_embeddings=True,
    )
    return randomised(transformers.LlamaForCausalLM(config).eval(), seed)


def save_pair(folder: Path, prompts: int = 48, liking: float = 1.5) -> Path:
    """Save base, a tuned model that likes `a` more and has noise elsewhere, prompts, and a reward file."""
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<s>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="<end>")
    base, tuned = model(), model()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        seen = torch.tensor(list(product(range(2, 6), repeat=3)))
        state = base.model(seen).last_hidden_state.mean(dim=(0, 1))
        for name, one in tuned.named_parameters():
            one.add_(torch.randn(one.shape, generator=generator) * one.std() * 0.1)
            if name == "model.embed_tokens.weight":
                one[2] += liking * state / state.square().sum()
    for name, one in (("base", base), ("tuned", tuned)):
        one.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
    letters = [" ".join(some) for size in (2, 3) for some in product("abcd", repeat=size)]
    chosen = np.random.default_rng(0).permutation(letters)[:prompts]
    rows = [{"prompt": str(text), "reference": "a b"} for text in chosen]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "reward.py").write_text(REWARD, encoding="utf-8")
    return folder


def arena_text(folder: Path, answers: int = 8, **more: str) -> str:
    """Write the arena of the prompts."""
    told = {
        "data": folder / "prompts.jsonl",
        "rewards": f"['{folder / 'reward.py'}:good']",
        "kinds": f"{folder / 'reward.py'}:kinds",
        "max_tokens": MOST,
        "answers": answers,
        **more,
    }
    return "rows:{" + ", ".join(f"{name}: {value}" for name, value in told.items()) + "}"


@dataclass(frozen=True)
class Enumerated:
    """Every answer of three tokens at most: its tokens, text, whether it ended, and what it is worth."""

    tokens: tuple[tuple[int, ...], ...]

    @classmethod
    def all(cls) -> Enumerated:
        """List them."""
        others = [place for place in range(len(WORDS)) if place != END]
        ended = [(*some, END) for size in range(MOST) for some in product(others, repeat=size)]
        return cls((*ended, *product(others, repeat=MOST)))

    @property
    def texts(self) -> list[str]:
        """What each says."""
        return [" ".join(WORDS[one] for one in some if one > END) for some in self.tokens]

    @property
    def worth(self) -> Floats:
        """What each is worth."""
        return np.array([one.split().count("a") - 0.25 * one.split().count("d") for one in self.texts])

    @property
    def kinds(self) -> list[str]:
        """The kind of each."""
        return [
            "with b" if "b" in text.split() else "" if END in some else "cut off"
            for text, some in zip(self.texts, self.tokens, strict=True)
        ]

    @property
    def lengths(self) -> Floats:
        """How many tokens each has."""
        return np.array([len(some) for some in self.tokens], np.float64)

    @torch.no_grad()
    def logprobs(self, model: transformers.PreTrainedModel, prompts: list[list[int]]) -> Floats:
        """Return the log-probability of each after each prompt, by the model itself, (prompts, answers)."""
        found = np.zeros((len(prompts), len(self.tokens)))
        padded = torch.tensor([[*some, *[0] * (MOST - len(some))] for some in self.tokens])
        real = torch.tensor([[1] * len(some) + [0] * (MOST - len(some)) for some in self.tokens])
        for row, prompt in enumerate(prompts):
            whole = torch.cat([torch.tensor(prompt).expand(len(padded), -1), padded], dim=1)
            logits = model(whole).logits[:, len(prompt) - 1 : -1].double().log_softmax(-1)
            each = logits.gather(2, padded[:, :, None])[:, :, 0]
            found[row] = (each * real).sum(dim=1).numpy()
        return found
