"""The course of training: how weights, components' effects and agency develop over a run's snapshots."""

from takeback.findings.trajectory import show as show
from takeback.findings.trajectory.trajectory import CourseSettings as CourseSettings
from takeback.findings.trajectory.trajectory import Trajectory as Trajectory
from takeback.findings.trajectory.trajectory import course as course
