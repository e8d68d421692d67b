"""Measures that papers defined, to the last digit of their code, and rank-k models."""

from takeback.diff.published.lowrank import RankK as RankK
from takeback.diff.published.lowrank import rank_k as rank_k
from takeback.diff.published.published import Published as Published
from takeback.diff.published.published import PublishedWork as PublishedWork
from takeback.diff.published.published import published as published
