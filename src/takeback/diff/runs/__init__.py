"""Several tuned checkpoints of one base: how alike their changes are, and the course of one run."""

from takeback.diff.runs.between import Between as Between
from takeback.diff.runs.between import between as between
from takeback.diff.runs.course import Course as Course
from takeback.diff.runs.course import course as course
from takeback.diff.runs.siblings import Label as Label
