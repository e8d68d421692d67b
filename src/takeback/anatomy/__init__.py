"""Anatomy: which entries of which tensors belong to which component, from data per architecture family."""

from takeback.anatomy.anatomy import Anatomy as Anatomy
from takeback.anatomy.anatomy import Cut as Cut
from takeback.anatomy.families import Family as Family
from takeback.anatomy.families import canonical_name as canonical_name
from takeback.anatomy.families import families as families
from takeback.anatomy.families import family_of as family_of
from takeback.anatomy.region import Region as Region
from takeback.anatomy.source import anatomy_of as anatomy_of
