"""Agency: how much of what a policy does is pursuit of a goal, by several measures."""

from takeback.measure.agency.adaptation import adaptation as adaptation
from takeback.measure.agency.agency import agency as agency
from takeback.measure.agency.directedness import goal_directedness as goal_directedness
from takeback.measure.agency.episodes import Episode as Episode
from takeback.measure.agency.episodes import episode_meg as episode_meg
from takeback.measure.agency.policy_agency import policy_agency as policy_agency
from takeback.measure.agency.probes import Exam as Exam
from takeback.measure.agency.probes import Probes as Probes
from takeback.measure.agency.pursuits import pursuit as pursuit
from takeback.measure.agency.unknown import unknown_utility as unknown_utility
