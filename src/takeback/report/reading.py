"""How to read the report, and what in it can mislead."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from takeback.draw.page import Section
from takeback.report.examples import has_boards
from takeback.report.record import Record
from takeback.report.rows import BASE


def reading(record: Record) -> Section:
    """Say how pictures are read and what can mislead."""
    read = tuple(Markup("<strong>{}.</strong> {}").format(name, words) for name, words in _pictures(record))
    return Section(
        "How to read this",
        read,
        inside=(Section("What can mislead", tuple(_pitfalls(record))),),
        name="reading",
    )


def _pictures(record: Record) -> Iterator[tuple[str, str]]:
    late = (
        ", but for those that start from another arm" if any(arm.start != BASE for arm in record.arms) else ""
    )
    yield (
        "Learning curves",
        f"Arms share the base at step 0{late}. A curve that rises on its own goal and not on the others has "
        "learned that goal; whiskers that overlap base mean that the difference may be noise.",
    )
    if record.agency:
        yield (
            "Pursuit shares",
            "They tell how a change is directed, not how large it is: read the KL beside them. A large "
            "share toward another goal than the arm’s own says that the two goals want the same actions. "
            "Shares toward several goals don’t add up. An arm that imitates, or is tuned on best actions, "
            "can have a share as large as RL’s, so the share alone says what the change looks like and not "
            "where it came from. A share with little change, or whose halves disagree on the sign of β, is "
            "noise.",
        )
    if record.network:
        yield (
            "Units",
            "Taking a unit back puts the base’s incoming weights and bias in its place; what the next "
            "layer makes of it stays as it was trained. There are hundreds, each does little, and one in "
            "twenty looks like an effect by chance: the maps are for patterns and the layers for claims.",
        )
    yield (
        "Maps of the change",
        "They show where weights moved, not what the movement does. A large change may do nothing, and a "
        "small one much.",
    )
    yield (
        "Maps of takebacks",
        "Each square is one experiment with one component. Compare it with the others of its kind: single "
        "components are each other’s controls.",
    )
    yield (
        "Sets beside random sets",
        "Only what lies outside the grey band is particular to the set. The upper axis gives the effect as "
        "a share of what training gained; it is left out where the gain itself can’t be told from 0.",
    )
    if has_boards(record):
        yield (
            f"{record.words.situation.capitalize()}s",
            f"Two arrows for the same {record.words.action} lie side by side: grey for base, coloured for "
            "tuned.",
        )


def _pitfalls(record: Record) -> Iterator[str]:
    part = "units" if record.network else "heads"
    yield (
        f"Single takebacks mislead when components are redundant: each of two {part} may be dispensable "
        "while both together are not. Shares of single components therefore need not add up to 100%, and "
        "sets are the point."
    )
    yield (
        "A hybrid mixes weights that were never trained together. That taking a part back harms does not "
        "prove that the part holds the skill; that grafting it alone brings the skill is the stronger "
        "sign. Both can be true of more than one set."
    )
    cluster = f", clustered by {record.words.cluster}" if record.words.cluster else ""
    one = "" if record.several_seeds else ", and this run has one seed"
    yield (
        f"Intervals are over situations{cluster}, unless something else is said. They say what other "
        f"situations would give, not what another training run would give{one}."
    )
    yield (
        "Many sets are tested at once and intervals are not widened for it: one in twenty excludes 0 by "
        "chance."
    )
    heads = "" if record.network else ", their heads"
    yield (
        f"The set that the summary names is the one with the largest effect among layers{heads} and sets by "
        "name, so it was chosen after looking. Beside k random sets, “more than each of them” can say no "
        "more than one in k + 1, before that choice is counted."
    )
    yield (
        "Random sets of the same size are matched in parameters, or nearly; those of the same ‖Δ‖ in the "
        "size of the change, or nearly. A set that holds most of the model has controls that overlap it."
    )
    yield (
        "Utilities are averages. A takeback can leave the average alone and still exchange one kind of "
        f"{record.words.situation} for another; the KL divergence shows that something moved."
    )
