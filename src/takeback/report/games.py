"""How games ended: how many were won, or what they returned."""

from __future__ import annotations

from collections.abc import Sequence

from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, count, interval, number, percent, short
from takeback.draw.page import Figure, Section, Table
from takeback.draw.svg import tick_text
from takeback.report.legend import legend
from takeback.report.record import Arm, Record
from takeback.report.rows import BASE, ILLEGAL_END, GameRow
from takeback.run.stats import Estimate, mean_estimate, proportion_interval


def games(record: Record) -> Section | None:
    """Tell how games ended, None where none were played."""
    if not record.games:
        return None
    words = record.words
    against = f" against {words.defender}" if words.defender else ""
    title = f"{words.game.capitalize()}s{against}"
    if not words.won:
        return Section(title, tables=(_returns(record, record.games),), notes=_return_notes(record))
    note = (
        f"Each {words.game} starts from {words.starts}. “In the fewest {words.action}s”: as fast as the "
        f"{words.situation} allows. Shares of {words.won}s have Wilson’s 95% interval over {words.game}s."
    )
    picture = _wins(record, record.games)
    table = _won(record, record.games)
    if picture is None:
        none = f"No {words.game} ended in {words.won}, so there is no curve of it."
        return Section(title, tables=(table,), notes=(none, note))
    return Section(title, (legend(record, base=True),), (picture,), (table,), notes=(note,))


def games_words(record: Record, arm: Arm) -> str:
    """Say in a sentence how an arm's games ended, beside those of its start; empty where none were played."""
    start, ours = ([g for g in record.games or () if g.arm == name] for name in (arm.start, arm.name))
    if not start or not ours:
        return ""
    words = record.words
    if not words.won:
        return (
            f"It has {_played(record, ours, f'a mean {words.score} of ')}, with "
            f"{number(_length(ours), 1)} {words.action}s on average ({arm.start}: {_played(record, start)}, "
            f"{number(_length(start), 1)} {words.action}s)."
        )
    won, before = (f"{percent(_share(g, words.won))} of {count(len(g), words.game)}" for g in (ours, start))
    against = f"against {words.defender} " if words.defender else ""
    return f"It wins {against}(by {words.won}) in {won}; {arm.start} in {before}."


def _played(record: Record, games: Sequence[GameRow], worth: str = "") -> str:
    first = record.words.outcomes[0]
    mean = _return(games)
    told = f"{worth}{_estimated(mean)}; " if mean else ""
    return f"{told}{percent(_share(games, first))} of its {count(len(games), record.words.game)} {first}"


def _share(played: Sequence[GameRow], result: str) -> float:
    return sum(game.result == result for game in played) / len(played)


def _length(played: Sequence[GameRow]) -> float:
    return sum(game.moves for game in played) / len(played)


def _return(played: Sequence[GameRow]) -> Estimate | None:
    """Return the mean of the returns, None where a run did not keep them."""
    scores = [game.score for game in played if game.score is not None]
    return mean_estimate(scores) if len(scores) == len(played) else None


def _estimated(mean: Estimate) -> str:
    if mean.low is None or mean.high is None:
        return f"{number(mean.value)} {interval(None, None)}"
    return f"{number(mean.value)} [{short(mean.low, 3)}, {short(mean.high, 3)}]"


def _outcomes(record: Record, games: Sequence[GameRow]) -> list[str]:
    """Return how games end, but for what can't happen or is told by itself."""
    known = [*record.words.outcomes, *sorted({game.result for game in games})]
    return [
        end
        for end in dict.fromkeys(known)
        if end != record.words.won and (record.legality or end != ILLEGAL_END)
    ]


def _returns(record: Record, games: Sequence[GameRow]) -> Table:
    outcomes = _outcomes(record, games)
    rows: list[tuple[str, ...]] = []
    for name, _, played in _policies(record, games):
        mean = _return(played)
        rows.append(
            (
                name,
                str(len(played)),
                _estimated(mean) if mean else ABSENT,
                number(_length(played), 1),
                *(percent(_share(played, outcome)) for outcome in outcomes),
            )
        )
    words = record.words
    head = ("policy", f"{words.game}s", f"mean {words.score} [95% interval]", "mean length", *outcomes)
    return Table(head, tuple(rows), ("policy",))


def _return_notes(record: Record) -> tuple[str, ...]:
    words, most = record.words, record.plan.get("moves")
    limit = f"after {count(int(most), words.action)}" if most else "at the run's limit"
    kept = any(game.score is not None for game in record.games or ())
    notes = (
        f"Each {words.game} goes on from {words.starts}, with {words.action}s drawn from the policy. The "
        f"{words.score} is the arena’s own from there on, whatever an arm’s goal; its interval is Student’s, "
        f"over {words.game}s. {words.endings} Unfinished: stopped {limit}.",
    )
    return notes if kept else (*notes, f"This run did not keep the {words.score}s.")


def _policies(record: Record, games: Sequence[GameRow]) -> list[tuple[str, int, list[GameRow]]]:
    """Return name, place (−1: base) and games of every policy, base first."""
    found = [("base", -1, [game for game in games if game.arm == BASE])]
    for arm in record.arms:
        for seed in arm.seeds:
            name = arm.name if len(arm.seeds) == 1 else f"{arm.name}, seed {seed}"
            found.append((name, arm.place, [g for g in games if g.arm == arm.name and g.seed == seed]))
    return [policy for policy in found if policy[2]]


def _won(record: Record, games: Sequence[GameRow]) -> Table:
    words, outcomes = record.words, _outcomes(record, games)
    rows: list[tuple[str, ...]] = []
    for name, _, played in _policies(record, games):
        won = [game for game in played if game.result == words.won]
        low, high = proportion_interval(len(won), len(played))
        late = [game.moves - game.best for game in won if game.best is not None]
        fewest = percent(sum(extra <= 0 for extra in late) / len(played)) if late or not won else ABSENT
        rows.append(
            (
                name,
                str(len(played)),
                f"{percent(len(won) / len(played))} [{percent(low)}, {percent(high)}]",
                fewest,
                number(sum(late) / len(late), 1) if late else ABSENT,
                *(percent(_share(played, outcome)) for outcome in outcomes),
            )
        )
    fast = (f"in the fewest {words.action}s", f"{words.action}s lost per {words.won}")
    return Table(("policy", f"{words.game}s", f"{words.won}s", *fast, *outcomes), tuple(rows), ("policy",))


def _wins(record: Record, games: Sequence[GameRow]) -> Figure | None:
    words = record.words
    if not any(game.result == words.won for game in games):
        return None
    most = int(record.plan.get("moves") or max(game.moves for game in games))
    series: list[Series] = []
    for name, place, played in _policies(record, games):
        points: list[Point] = []
        for n in range(most + 1):
            won = sum(game.result == words.won and game.moves <= n for game in played)
            low, high = proportion_interval(won, len(played))
            share = f"{percent(won / len(played))} [{percent(low)}, {percent(high)}]"
            within = f"{words.won} within {count(n, words.action)}"
            title = f"{name}: {share} of {count(len(played), words.game)}, {within}"
            points.append(Point(n, won / len(played), title=title))
        series.append(Series(place, tuple(points), mark_every=5))
    axes = Axes(
        f"the policy’s {words.action}s",
        (0.0,),
        write_y=lambda value: percent(value, 0) if value <= 1 else tick_text(value),
    )
    title = f"Share of {words.game}s that end in {words.won} within N {words.action}s"
    return Figure.of(title, line_plot(series, axes, title))
