"""A tiny language model that chats: random weights, a byte-level tokenizer of its own, a chat template."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models import randomised

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>"
    "{% if thinking is defined and not thinking %}(short) {% endif %}{% endif %}"
)
CORPUS = [
    "what is the answer to this small sum",
    "two and two are four",
    "yes or no, good and bad",
    "12 34 56 78 90",
]


def tokenizer(vocabulary: int = 300) -> transformers.PreTrainedTokenizerFast:
    """Train a byte-level tokenizer with a few merges."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "<end>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet)
    made.train_from_iterator(CORPUS * 4, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="<end>")
    fast.chat_template = TEMPLATE
    return fast


def model(seed: int = 0, vocabulary: int = 300, scale: float = 1.0) -> transformers.PreTrainedModel:
    """Build a Llama of two layers, grouped queries, tied embeddings."""
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        hidden_size=24,
        intermediate_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=vocabulary,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
        tie_word_embeddings=True,
    )
    made = randomised(transformers.LlamaForCausalLM(config).eval(), seed)
    with torch.no_grad():
        for one in made.parameters():
            one.mul_(scale)
    return made


def save_pair(folder: Path, change: float = 0.3) -> tuple[Path, Path]:
    """Save a base and a tuned model, which is base with some noise on all weights; return both folders."""
    words, base = tokenizer(), model()
    tuned = model()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in tuned.parameters():
            one.add_(torch.randn(one.shape, generator=generator) * one.std() * change)
    for name, made in (("base", base), ("tuned", tuned)):
        made.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
    return folder / "base", folder / "tuned"
