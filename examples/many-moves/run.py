"""Train RL on whole games beside RL and imitation on single moves, and read what a goal over many moves does.

`python examples/many-moves/run.py` trains the arms of `design.py`, seed by seed, and reads them into
runs/many-moves/read/*.parquet; then come single runs beside the design, into side/, and takebacks of
components, read at near starts into readings/ and played from there into takebacks/. What was done before is
not done again; `--seeds`, `--arms` and `--parts` do a part. Conjectures are locked when it starts. About
forty minutes on one free core.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from design import (
    ARMS,
    BASE,
    CONTROLS,
    CUT,
    EPISODE,
    EVERY,
    FARTHEST,
    GAMES,
    HORIZON,
    MATCHING,
    PROBED,
    RATE,
    READ,
    SEEDS,
    SIDE,
    STARTS,
    TAKEN_BACK,
)

from takeback.arenas import arena
from takeback.arenas.endgames.geometry import action_number_of
from takeback.arenas.endgames.play import step
from takeback.arenas.endgames.solver import DEAD, after, black_moves, tables
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.findings.sweep.sets import chosen_sets, random_controls
from takeback.hybrid import taken_back
from takeback.measure.agency import agency
from takeback.measure.agency.adaptation import adaptation
from takeback.measure.agency.episodes import Episode, acts, episode_meg
from takeback.measure.agency.probes import Exam, Linear, Probes
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import find_measures
from takeback.measure.shift import KL as DIVERGENCE
from takeback.measure.shift import shift
from takeback.policies import load_policy
from takeback.policies.play import player
from takeback.policies.policy import Policy
from takeback.policies.readout import Readouts
from takeback.run.files import atomic_file
from takeback.run.stats import cluster_codes
from takeback.run.tables import read_table, write_table
from takeback.run.threads import cpu_threads
from takeback.study.conjectures import load_conjectures, lock
from takeback.training import check_recipe, train
from takeback.weights import diff

PARTS = ("whole", "side", "readings", "takebacks")
GAMES_ARM = "rl-games"
EARNED = ("games won", "starts that teach")
"""Of a step of RL on games: how many were won, and from how many starts some were won and others not."""
HERE = Path(__file__).parent
ENDGAMES: Any = arena("endgames")
Choose = Callable[[Sequence[Any]], Sequence[str]]


def main() -> None:
    """Do what is asked and not yet done."""
    parser = argparse.ArgumentParser(description="A goal over many moves.")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/many-moves"))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    lock(load_conjectures(HERE / "conjectures.yaml"), chosen.out)
    made = [(seed, arm) for seed in chosen.seeds for arm in chosen.arms]
    with cpu_threads(1):
        if "whole" in chosen.parts:
            keep(chosen.out / "read" / "base.parquet", lambda: whole(BASE))
        for seed, arm in made if "whole" in chosen.parts else ():
            for at, model in trained(arm, seed, chosen.out / "models").items():
                path = chosen.out / "read" / f"{arm}-{at}-{seed}.parquet"
                keep(path, partial(whole, model), arm=arm, at=at, seed=seed)
        for name, fields in SIDE.items() if "side" in chosen.parts else ():
            path = chosen.out / "side" / f"{name}.parquet"
            keep(path, partial(side, name, fields, chosen.out), run=name)
        for part, make in {"readings": readings, "takebacks": takebacks}.items():
            for seed, arm in made if part in chosen.parts else ():
                if arm in CUT:
                    model = trained(arm, seed, chosen.out / "models")["matched"]
                    keep(
                        chosen.out / part / f"{arm}-{seed}.parquet", partial(make, model), arm=arm, seed=seed
                    )


def keep(path: Path, make: Callable[[], Iterable[dict[str, Any]]], **labels: Any) -> None:
    """Write a table unless it is there."""
    if not path.exists():
        write_table(pd.DataFrame(list(make())).assign(**labels), path)
        print(path.stem, flush=True)


def trained(arm: str, seed: int, out: Path) -> dict[str, str]:
    """Train an arm, where that is not done; return its model at the distance of `rl-games`, and its last."""
    folder = out / arm / f"seed-{seed}"
    if not (folder / "kept.json").exists():
        steps = ARMS[arm]["steps"]
        snapshots = [] if arm == GAMES_ARM else list(range(EVERY, steps, EVERY))
        fields = {"parent": BASE, "goal": "win", "learning_rate": RATE, "seed": seed, "threads": 1}
        train(check_recipe({**ARMS[arm], **fields, "snapshots": snapshots}), folder)
        models = {n: folder / f"step-{n}" for n in snapshots} | {steps: folder / "final"}
        far = {n: distance(str(model)) for n, model in models.items()}
        wanted = far[steps] if arm == GAMES_ARM else kept(GAMES_ARM, seed, out)["kl"]
        nearest = min(far, key=lambda n: abs(np.log(far[n] / wanted)))
        for n in set(snapshots) - {nearest}:
            shutil.rmtree(models[n])
        told = {"step": nearest, "kl": far[nearest], "model": models[nearest].name, "wanted": wanted}
        with atomic_file(folder / "kept.json") as draft:
            draft.write_text(json.dumps({**told, "course": far}), encoding="utf-8")
    models = {"matched": str(folder / kept(arm, seed, out)["model"])}
    return models | ({"end": str(folder / "final")} if arm in FARTHEST else {})


def side(name: str, fields: Mapping[str, Any], out: Path) -> Iterator[dict[str, Any]]:
    """Train a run beside the design; read its games before and after, and what its steps earned."""
    recipe = {"method": "rl", "goal": "win", "learning_rate": RATE, "threads": 1, **fields}
    folder = out / "side" / "models" / name
    final = train(check_recipe(recipe), folder)
    for when, model in {"before": recipe["parent"], "after": str(final)}.items():
        for row in games(load_policy(model, ENDGAMES), best_defence, "perfect"):
            yield {"when": when, **row}
    yield from ({"when": "training", **row} for row in earned(folder))


def earned(folder: Path) -> Iterator[dict[str, Any]]:
    """Tell how many games of each step of a run were won, and how many of its starts teach anything."""
    seen = pd.concat([read_table(path) for path in sorted((folder / "completions").glob("*.parquet"))])
    first = seen[seen["move"] == 0]
    for number, rows in first.groupby("step"):
        won = rows.groupby("situation")["reward"].mean()
        values = (float(won.mean()), float(((won > 0) & (won < 1)).mean()))
        yield from (
            {"measure": name, "step": number, "value": value}
            for name, value in zip(EARNED, values, strict=True)
        )


def kept(arm: str, seed: int, out: Path) -> dict[str, Any]:
    """Return what is known of a trained arm's model at the distance: step, kl, model."""
    return json.loads((out / arm / f"seed-{seed}" / "kept.json").read_text(encoding="utf-8"))


@cache
def base_on(drawn: tuple[int, int]) -> tuple[list[Any], Readouts]:
    """Return held-out situations, and what base does there."""
    situations = list(ENDGAMES.situations("held-out", *drawn))
    return situations, plainly(load_policy(BASE, ENDGAMES), situations)


def plainly(policy: Policy, situations: Sequence[Any]) -> Readouts:
    """Read a policy without telling kinds of illegal answers apart."""
    return policy.read(policy.prepare(ENDGAMES, situations), tolerance=1.0)


def distance(model: str) -> float:
    """Return KL(model || base) in nats on the situations that arms are matched on."""
    situations, base = base_on(MATCHING)
    return float(shift(base, plainly(load_policy(model, ENDGAMES), situations))[DIVERGENCE.name].mean())


@cache
def begun(most: int = HORIZON) -> tuple[Any, ...]:
    """Return held-out starts of games, evenly from each distance to mate up to `most`."""
    count, seed = STARTS
    found: dict[int, list[Any]] = {far: [] for far in range(1, most + 1)}
    for one in ENDGAMES.situations("held-out", 64 * count * HORIZON, seed, goal="win"):
        some = found.get(ENDGAMES.distance(one) or 0, [])
        if len(some) < count:
            some.append(one)
    return tuple(one for some in found.values() for one in some)


def whole(model: str) -> Iterator[dict[str, Any]]:
    """Read a whole model: rows of a measure, its value, and for what varies by start `start` and `far`."""
    policy = load_policy(model, ENDGAMES)
    yield from changed(policy)
    for defender, play in {"perfect": best_defence, "random": random_defence}.items():
        yield from games(policy, play, defender)
    act = acts(policy, ENDGAMES)
    for given in (False, True):
        episode = episodes(given)
        found = episode_meg(episode, episode.played(act, 1, 0))
        ending = ", if legal" * given
        yield {"measure": f"MEG over {EPISODE} moves{ending}", "value": found.value.value}
        yield {"measure": f"paid a move over {EPISODE} moves{ending}", "value": found.paid.value}
    for row in adaptation(policy, ENDGAMES).itertuples():
        yield {"measure": row.measure, "value": row.value}
    yield from probed(policy)


def changed(policy: Policy) -> Iterator[dict[str, Any]]:
    """Tell how far a policy is from base, and its utility, legality and pursuit."""
    situations, base = base_on(READ)
    tuned = plainly(policy, situations)
    names = ("utility win", "legal")
    asked = {one.name: one for one in find_measures(names, ENDGAMES)}
    context = MeasureContext.of(base, ENDGAMES, tuple(asked.values()), situations)
    yield {"measure": "KL from base", "value": float(shift(base, tuned)[DIVERGENCE.name].mean())}
    for name, measure in asked.items():
        values = measure.of(tuned, context)
        yield {"measure": name, "value": float(values.numbers[values.applies].mean())}
    found = agency(base, tuned, context, ["win"]).set_index("measure")["value"]
    yield {"measure": "signed pursuit share, if legal", "value": found["signed pursuit share, if legal"]}


def games(policy: Policy, play: Callable[..., list[Any]], defender: str) -> Iterator[dict[str, Any]]:
    """Play from every start: how often games end in mate, in a draw, or illegally, and by which kind."""
    starts = [one for one in begun() for _ in range(GAMES)]
    played = play(player(policy, ENDGAMES, 1), starts, HORIZON)
    for number in range(0, len(starts), GAMES):
        mine = played[number : number + GAMES]
        about = {"start": number // GAMES, "far": ENDGAMES.distance(starts[number])}
        shares = {f"mates within {HORIZON}": [one == "mate" for one, *_ in mine]}
        shares["mates as fast as can be"] = [
            one == "mate" and turns <= about["far"] for one, _, turns in mine
        ]
        shares |= {f"ends {end}": [one == end for one, *_ in mine] for end in ("illegal", "draw")}
        for name, values in shares.items():
            yield {"measure": f"{name}, {defender}", "value": float(np.mean(values)), **about}
    kinds = pd.Series([kind for _, kind, _ in played if kind]).value_counts()
    for kind, count in kinds.items():
        yield {"measure": f"ends by {kind}, {defender}", "value": count / len(played)}


def best_defence(choose: Choose, starts: Sequence[Any], most: int) -> list[tuple[str, str, int]]:
    """Play against the best defender: outcome, kind of an illegal end, and White's moves."""
    return [(one.outcome, one.reason, one.turns) for one in ENDGAMES.play_out(choose, starts, most)]


def random_defence(choose: Choose, starts: Sequence[Any], most: int) -> list[tuple[str, str, int]]:
    """Play against one that takes any legal move, in place of the best."""
    random = np.random.default_rng(2)
    current, ended = dict(enumerate(starts)), dict[int, tuple[str, str, int]]()
    for turn in range(1, most + 1):
        asked = list(current)
        for number, text in zip(asked, choose([current[one] for one in asked]) if asked else (), strict=True):
            kind = ENDGAMES.classify(current[number], text)
            if kind != "legal":
                ended[number] = ("illegal", kind, turn)
            elif step(current[number], text.strip()).outcome == "mate":
                ended[number] = ("mate", "", turn)
            elif (follows := _any_reply(current[number], text.strip(), random)) is None:
                ended[number] = ("draw", "", turn)
            else:
                current[number] = follows
            if number in ended:
                del current[number]
    return [ended.get(number, ("unfinished", "", most)) for number in range(len(starts))]


def _any_reply(situation: Any, action: str, random: np.random.Generator) -> Any:
    """Return the situation after a move and any answer, None where White can no longer win."""
    position = int(after(np.array([situation.number]), np.array([action_number_of(action)]))[0])
    if position == DEAD:
        return None
    squares, reached = (side[0] for side in black_moves(np.array([position])))
    legal = reached[squares >= 0]
    if not len(legal):
        return None
    chosen = int(random.choice(legal))
    if chosen == DEAD or tables().row[chosen] < 0:
        return None
    return type(situation).of(chosen)


@cache
def episodes(if_legal: bool) -> Episode:
    """Return all that can happen in the first moves of the games."""
    return Episode.of(ENDGAMES, begun(), "win", EPISODE, if_legal)


@cache
def exam() -> tuple[Exam, tuple[Any, ...]]:
    """Return what probes are asked, and training situations that are near mate."""
    situations = ENDGAMES.situations("held-out", *PROBED)
    near = [
        one
        for one in ENDGAMES.situations("train", 8 * PROBED[0], PROBED[1], goal="win")
        if (ENDGAMES.distance(one) or 0) <= HORIZON
    ]
    return Exam.of(ENDGAMES, situations, "held-out", PROBED[1]), tuple(near)


def probed(policy: Policy) -> Iterator[dict[str, Any]]:
    """Ask linear probes of a policy's hidden states for facts, better moves, and whether mate is within 3."""
    asked, near = exam()
    probes = Probes.learnt(policy, ENDGAMES, PROBED[0], PROBED[1])
    for name, scores in probes.scores(policy, asked).items():
        yield {"measure": f"probe {name}", "value": float(scores.mean())}
    half = HORIZON // 2
    soon = np.array([ENDGAMES.distance(one) <= half for one in near])
    clusters = cluster_codes([str(ENDGAMES.cluster(one)) for one in near], len(near))
    told = Linear.fit(policy.states(ENDGAMES, near), np.stack([~soon, soon], 1).astype(np.float64), clusters)
    truth = np.array([ENDGAMES.distance(one) <= half for one in begun()])
    right = told(policy.states(ENDGAMES, begun())).argmax(axis=1) == truth
    yield {"measure": f"probe mate within {half}", "value": float(right.mean())}


def hybrids(model: str) -> Iterator[tuple[dict[str, Any], Policy]]:
    """Take back nothing, everything, each head, MLP and embedding, and random sets beside them, in turn."""
    pair = open_pair(open_checkpoint(BASE), open_checkpoint(model))
    anatomy, norms = pair.anatomy(), diff(pair).components.set_index("component")["delta_norm"]
    moved = {one: float(norms[str(one)]) ** 2 for one in anatomy.universe}
    chosen = chosen_sets(anatomy, TAKEN_BACK)
    named = (*chosen, *random_controls(anatomy, chosen, moved, CONTROLS, 0))
    sets = [(one.family, one.name, one.components) for one in named]
    tuned, base = load_policy(model, ENDGAMES), load_policy(BASE, ENDGAMES)
    nothing = anatomy.universe - anatomy.universe
    for family, name, components in [("", "", nothing), ("", "*", anatomy.universe), *sets]:
        with taken_back(tuned.model, base.model, components, anatomy):
            yield {"family": family, "set": name, "components": str(components)}, tuned


def near() -> tuple[list[Any], list[int]]:
    """Return the starts within half the horizon of mate, and how far each is."""
    starts = [one for one in begun() if ENDGAMES.distance(one) <= HORIZON // 2]
    return starts, [ENDGAMES.distance(one) for one in starts]


def readings(model: str) -> Iterator[dict[str, Any]]:
    """Read hybrids at near starts: the mass of legal moves and that of the moves that mate fastest."""
    starts, far = near()
    fastest = ENDGAMES.goals["win"].utility(starts) == 1.0
    for about, hybrid in hybrids(model):
        read = plainly(hybrid, starts)
        ends = np.cumsum([len(actions) for actions in read.actions])[:-1]
        parts = (np.split(values, ends) for values in (read.probabilities, read.probabilities * fastest))
        for number, (lawful, best) in enumerate(zip(*parts, strict=True)):
            row = {
                "start": number,
                "far": far[number],
                "legal": float(lawful.sum()),
                "best": float(best.sum()),
            }
            yield {**about, **row}


def takebacks(model: str) -> Iterator[dict[str, Any]]:
    """Play games of hybrids from near starts."""
    starts, far = near()
    for about, hybrid in hybrids(model):
        played = best_defence(player(hybrid, ENDGAMES, 1), starts, HORIZON)
        for number, (end, _, _) in enumerate(played):
            row = {"start": number, "far": far[number]}
            yield {**about, **row, "mates": float(end == "mate"), "illegal": float(end == "illegal")}


if __name__ == "__main__":
    main()
