"""Whose a training run's folder is: `recipe.yaml` holds the recipe, and hashes of what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from takeback.arenas import Asked, arena
from takeback.arenas.rows.rows import Rows
from takeback.checkpoint import Checkpoint, open_checkpoint
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.identity import identity
from takeback.run.own import is_reference
from takeback.run.reading import read_text
from takeback.run.yaml_text import parse_yaml
from takeback.training.recipe import ROLES, Recipe, check_recipe, dump_recipe

_HASH: Final = "# content hash of the "
_IDENTITY: Final = "# identity of what it names: "


def claim_of(recipe: Recipe) -> str:
    """Return what identifies a run: its recipe, hashes of its parent and teacher, and `named_by`."""
    hashes = "".join(f"{_HASH}{role}: {side.digest}\n" for role, side in reversed(_sides(recipe).items()))
    return f"{dump_recipe(recipe)}{hashes}{_IDENTITY}{named_by(recipe)}\n"


def named_by(recipe: Recipe) -> str:
    """Return the identity of what a recipe names, wherever that lies: checkpoints, the arena, the goal."""
    goals = [goal] if (goal := getattr(recipe, "goal", None)) else []
    place = arena(recipe.arena)
    rows = [place.learned_from] if isinstance(place, Rows) else []
    return identity(_sides(recipe), Asked(place, goals=goals), *rows, versions=False)


def write_claim(out: Path, claim: str) -> None:
    """Say whose run this is, once its recipe is known to work."""
    with atomic_file(out / "recipe.yaml") as draft:
        draft.write_text(claim, encoding="utf-8")


def refuse_other(out: Path, claim: str) -> None:
    """Raise where a folder holds a run that is not the one claimed.

    Version 0.1 wrote no identity of what a recipe names: a run of its goes on unless its goal is a user's
    function, which may have been another one.

    Raises:
        TakebackError: the folder holds a run of another recipe, parent or reward, or it can't be told.
    """
    path = out / "recipe.yaml"
    if not path.exists():
        return
    (was, told), (asked, wanted) = (_anywhere(text) for text in (read_text(path), claim))
    if was != asked or told != wanted[: len(told)]:
        raise TakebackError(
            f"{out} holds a run of another recipe or parent, or by another reward ({path}); choose another "
            "folder or remove it"
        )
    if len(told) < len(wanted) and is_reference(str(getattr(asked, "goal", ""))):
        raise TakebackError(
            f"{path} is of version 0.1 and does not say what function rewarded it; choose another folder"
        )


def _sides(recipe: Recipe) -> dict[str, Checkpoint]:
    return {role: open_checkpoint(ref) for role in ROLES if (ref := getattr(recipe, role, None))}


def _anywhere(claim: str) -> tuple[Recipe | None, list[str]]:
    """Return a claim without the places of other checkpoints: their content says which they are.

    A field that an earlier version did not know is read as its default.
    """
    try:
        fields = parse_yaml(claim, "recipe.yaml")
        recipe = check_recipe({**fields, **{name: "" for name in ROLES if name in fields}})
    except (TakebackError, TypeError):
        recipe = None
    return recipe, [line for line in claim.splitlines() if line.startswith("#")]
