"""Studies: arms and seeds from one base, trained, diffed, taken back and recorded."""

from takeback.study.plan import Plan as Plan
from takeback.study.plan import load_plan as load_plan
from takeback.study.run import run_plan as run_plan
from takeback.study.status import Status as Status
from takeback.study.status import study_status as study_status
