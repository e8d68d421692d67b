"""Sweeps: take back and graft many sets, read every hybrid, tabulate effects beside random controls."""

from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback.findings.sweep.budget import Budget as Budget
    from takeback.findings.sweep.budget import Budgeted as Budgeted
    from takeback.findings.sweep.budget import hybrids_within as hybrids_within
    from takeback.findings.sweep.budget import within as within
    from takeback.findings.sweep.probes import probe_hybrids as probe_hybrids
    from takeback.findings.sweep.run import Sweep as Sweep
    from takeback.findings.sweep.run import squared_norms as squared_norms
    from takeback.findings.sweep.run import sweep as sweep
    from takeback.findings.sweep.run import sweep_file as sweep_file
    from takeback.findings.sweep.run import sweep_shard as sweep_shard
    from takeback.findings.sweep.sets import FAMILIES as FAMILIES
    from takeback.findings.sweep.sets import NamedSet as NamedSet
    from takeback.findings.sweep.sets import chosen_sets as chosen_sets
    from takeback.findings.sweep.strongest import moved_most as moved_most
    from takeback.findings.sweep.strongest import strongest as strongest

lazy_names(__name__)
