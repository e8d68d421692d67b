"""Measures that papers defined, to the last digit of their code, and rank-k models."""

from takeback.weights.published import show as show
from takeback.weights.published.lowrank import RankK as RankK
from takeback.weights.published.lowrank import rank_k as rank_k
from takeback.weights.published.published import Published as Published
from takeback.weights.published.published import PublishedWork as PublishedWork
from takeback.weights.published.published import published as published
