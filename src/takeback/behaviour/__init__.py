"""What policies do: readouts, measures on them, and what changed between two."""

from takeback.behaviour.adaptation import adaptation as adaptation
from takeback.behaviour.agency import agency as agency
from takeback.behaviour.agency import pursuit as pursuit
from takeback.behaviour.directedness import goal_directedness as goal_directedness
from takeback.behaviour.episodes import Episode as Episode
from takeback.behaviour.episodes import episode_meg as episode_meg
from takeback.behaviour.load import load_policy as load_policy
from takeback.behaviour.measures import MeasureContext as MeasureContext
from takeback.behaviour.measures import measure_values as measure_values
from takeback.behaviour.measures import measures as measures
from takeback.behaviour.outcomes import Outcomes as Outcomes
from takeback.behaviour.play import player as player
from takeback.behaviour.policy import Policy as Policy
from takeback.behaviour.policy import read as read
from takeback.behaviour.policy_agency import policy_agency as policy_agency
from takeback.behaviour.probes import Exam as Exam
from takeback.behaviour.probes import Probes as Probes
from takeback.behaviour.readout import Readout as Readout
from takeback.behaviour.readout import Readouts as Readouts
from takeback.behaviour.shift import Change as Change
from takeback.behaviour.shift import effects as effects
from takeback.behaviour.shift import most_changed as most_changed
from takeback.behaviour.shift import shift as shift
from takeback.behaviour.unknown import unknown_utility as unknown_utility
