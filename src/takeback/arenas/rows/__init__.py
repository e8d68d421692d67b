"""Arenas of a user's own rows: prompts with choices, or with rewards that score any answer."""

from takeback.arenas.rows.drawn import DrawnRows as DrawnRows
from takeback.arenas.rows.pool import PooledRow as PooledRow
from takeback.arenas.rows.pool import PooledRows as PooledRows
from takeback.arenas.rows.rewards import refuse_silent as refuse_silent
from takeback.arenas.rows.row import Row as Row
from takeback.arenas.rows.rows import ChoiceRows as ChoiceRows
from takeback.arenas.rows.rows import OpenRows as OpenRows
from takeback.arenas.rows.rows import rows_arena as rows_arena
from takeback.arenas.rows.sampling import Sampling as Sampling
from takeback.arenas.rows.spec import RowsSpec as RowsSpec
from takeback.arenas.rows.spec import files_of as files_of
from takeback.arenas.rows.spec import is_rows as is_rows
from takeback.arenas.rows.spec import with_settings as with_settings
