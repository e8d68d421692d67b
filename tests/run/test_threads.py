"""How many threads: what a system can start."""

import pytest

from takeback.run.errors import TakebackError
from takeback.run.threads import MOST_THREADS, cpu_threads


@pytest.mark.parametrize("count", [0, MOST_THREADS + 1, 1_000_000])
def test_a_number_of_threads_that_ends_the_process_is_refused(count: int) -> None:
    with (
        pytest.raises(TakebackError, match=f"{count} CPU threads cannot be used; choose 1 to"),
        cpu_threads(count),
    ):
        pass
