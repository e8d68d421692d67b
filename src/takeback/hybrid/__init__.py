"""Hybrids: some components from base, all others from tuned; on disk and in memory."""

from takeback.hybrid.disk import write_hybrid as write_hybrid
from takeback.hybrid.hybrid import Hybrid as Hybrid
from takeback.hybrid.hybrid import hybrid as hybrid
from takeback.hybrid.live import grafted as grafted
from takeback.hybrid.live import taken_back as taken_back
from takeback.hybrid.patch import write_patch as write_patch
