"""What a change is made of: how much of it each set of components carries, and how they work together.

The calls for one finding each have the names of their modules and are imported from those, such as
`takeback.findings.localise.curves.curves`; `localise` runs any of them by name.
"""

from takeback.findings.localise import show_across as show_across
from takeback.findings.localise import show_curves as show_curves
from takeback.findings.localise import show_directions as show_directions
from takeback.findings.localise import show_groups as show_groups
from takeback.findings.localise import show_others as show_others
from takeback.findings.localise import show_pairs as show_pairs
from takeback.findings.localise import show_retarget as show_retarget
from takeback.findings.localise import show_shapley as show_shapley
from takeback.findings.localise import show_shares as show_shares
from takeback.findings.localise import show_smallest as show_smallest
from takeback.findings.localise import show_strength as show_strength
from takeback.findings.localise.across import Across as Across
from takeback.findings.localise.across import across as across
from takeback.findings.localise.localise import DEFAULT as DEFAULT
from takeback.findings.localise.localise import PARTS as PARTS
from takeback.findings.localise.localise import LocaliseSettings as LocaliseSettings
from takeback.findings.localise.localise import localise as localise
from takeback.findings.localise.shares import NoChange as NoChange
