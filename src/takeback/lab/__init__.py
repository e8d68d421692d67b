"""The lab: the live page of a pair or a run, its static bundle, and the notebook widget."""
