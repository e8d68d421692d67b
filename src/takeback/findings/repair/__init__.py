"""Repair: keep what tuning brought, undo what it cost."""

from takeback.findings.repair import show as show
from takeback.findings.repair.repair import Repaired as Repaired
from takeback.findings.repair.repair import readings as readings
from takeback.findings.repair.repair import repair as repair
from takeback.findings.repair.search import Repairing as Repairing
from takeback.findings.repair.trade import Target as Target
from takeback.findings.repair.trade import Trade as Trade
from takeback.findings.repair.write import check_name as check_name
from takeback.findings.repair.write import push as push
from takeback.findings.repair.write import write_repaired as write_repaired
