"""Prints the cards of all measures of agency with their numbers, as docs/agency.md shows them."""

from validation.arena_cards import CARDS as ARENA_CARDS
from validation.arena_cards import numbers as arena_numbers
from validation.cards import CARDS, card_text, numbers

print(card_text(numbers()))
print()
print(card_text(arena_numbers(), ARENA_CARDS, len(CARDS) + 1))
