import subprocess
import sys

import pytest

from takeback.arenas import arena
from takeback.run.errors import UnknownName


def test_lookup_gives_the_arena_of_that_name():
    assert arena("endgames").name == "endgames"


def test_an_unknown_arena_is_named_with_the_nearest():
    with pytest.raises(UnknownName, match="unknown arena 'endgame': did you mean 'endgames'"):
        arena("endgame")


def test_an_arena_needs_no_model_library():
    code = (
        "import sys; from takeback.arenas import arena; a = arena('endgames'); "
        "s = a.situations('train', 3, 0, 'win'); [a.step(x, a.legal(x)[0]) for x in s]; "
        "heavy = {'torch', 'transformers', 'tokenizers', 'pandas', 'chess'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
