"""The course of training: how weights, components' effects and agency develop over a run's snapshots."""

from takeback.course.course import Course as Course
from takeback.course.course import Settings as Settings
from takeback.course.course import course as course
