"""Arenas of lm-eval's evaluation tasks: what they ask, and their own metrics of what policies answer."""

from takeback.arenas.lm_eval.arena import EvalTasks as EvalTasks
from takeback.arenas.lm_eval.arena import eval_arena as eval_arena
from takeback.arenas.lm_eval.documents import Document as Document
from takeback.arenas.lm_eval.generation import GeneratedTasks as GeneratedTasks
from takeback.arenas.lm_eval.spec import EvalSpec as EvalSpec
