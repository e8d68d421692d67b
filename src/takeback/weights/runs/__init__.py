"""Several tuned checkpoints of one base: how alike their changes are, and the course of one run."""

from takeback.weights.runs.between import Between as Between
from takeback.weights.runs.between import between as between
from takeback.weights.runs.course import Course as Course
from takeback.weights.runs.course import course as course
from takeback.weights.runs.siblings import Label as Label
