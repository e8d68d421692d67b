"""The course of training: how weights, components' effects and agency develop over a run's snapshots."""

from takeback.findings.trajectory import show as show
from takeback.findings.trajectory.trajectory import Course as Course
from takeback.findings.trajectory.trajectory import Settings as Settings
from takeback.findings.trajectory.trajectory import course as course
