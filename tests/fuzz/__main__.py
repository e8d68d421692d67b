"""`python -m fuzz TRIES [SEED]`, with `tests` on the path: the table of what became of so many tries."""

import sys

from fuzz.run import fuzz, table

if __name__ == "__main__":
    found = fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(table(found))
    sys.exit(any(one.outcome not in ("accepted", "refused") for one in found))
