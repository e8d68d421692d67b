"""Predictions about people and projects: written down, settled once, scored as conjectures are."""

from takeback.planning.predictions import show as show
from takeback.planning.predictions.event import Predicted as Predicted
from takeback.planning.predictions.event import Resolved as Resolved
from takeback.planning.predictions.event import read_events as read_events
from takeback.planning.predictions.predictions import Predictions as Predictions
from takeback.planning.predictions.predictions import predict as predict
from takeback.planning.predictions.predictions import read_predictions as read_predictions
from takeback.planning.predictions.predictions import resolve as resolve
