"""The tables of the page on SmolLM2, from its record (`keep.py`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from takeback.draw.markdown import slug, table
from takeback.draw.numbers import ABSENT, interval, number, percent, range_of, share, signed
from takeback.run.stats import mean_estimate
from takeback.run.tables import read_table
from takeback.study.comparison.markdown import of_comparison
from takeback.study.conjectures.markdown import of_conjectures, of_scores

SEED = r"-seed-\d+$"
"""How names of arms end."""
STRETCH = 4
"""Steps whose rewards are taken together."""
STRONGEST = 4
"""Sets that are told of each family."""
SKILL, MARGIN = "utility right", "margin right"
"""The mean probability of the right digit, which ends at 1, and its log-odds, which end nowhere."""
TOLD = {
    SKILL: "right, of the choices",
    "utility first": "the first digit, of the choices",
    "mass of choices": "says a choice",
    "entropy": "entropy of the choices, nats",
    "KL(after || before)": "KL of the choices, nats",
}
PURSUIT = "signed pursuit share"
OTHER_TASK = "larger-"
"""How arms on the task that was tried first are called."""
SAME_FORM = ("first", "middle")
"""Arenas in the form of the task, on which every arm was read."""
TASK = "task"
HARM = {("first", SKILL): "first: right", ("middle", "utility last"): "middle: last"}
"""What RL did beside the task, and what it is called."""
AWAY = {
    ("asked", SKILL): "asked in words",
    ("addition", SKILL): "sums",
    ("repeat", "utility said"): "say a word again",
    ("refusals", "utility refused"): "refuses",
    ("text", "log p(reference)"): "ordinary text, nats",
}
"""What is told of arenas away from the task, and what it is called."""


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key, of what the record has."""
    made: dict[str, str] = {}
    for name, make in MAKERS.items():
        if (file := record / f"{name}.parquet").exists():
            made |= make(read_table(file))
    if (file := record / "means.parquet").exists():
        made |= of_comparison(read_table(file), read_table(record / "contrasts.parquet"))
    return {slug(key): block for key, block in made.items()}


def learning(logs: pd.DataFrame) -> dict[str, str]:
    """Tell the mean reward of each stretch of steps, its interval over steps of all seeds, within 0 and 1.

    Until the problems begin anew every step has problems that were not trained on before.

    >>> logs = pd.DataFrame({"arm": "rl-seed-0", "reward": [0.25, 0.5, 0.75]})
    >>> print(learning(logs)["learning"].splitlines()[-1])
    | 1–4 | 0.500 [0.000, 1.000] |
    """
    steps = logs.groupby("arm").cumcount() // STRETCH
    told = logs.assign(stretch=steps, way=logs["arm"].str.replace(SEED, "", regex=True)).dropna(
        subset="reward"
    )
    ways = list(dict.fromkeys(told["way"]))
    cells = {key: _mean(some["reward"]) for key, some in told.groupby(["way", "stretch"])}
    rows = [
        (f"{n * STRETCH + 1}–{(n + 1) * STRETCH}", *(cells.get((way, n), "") for way in ways))
        for n in sorted(set(told["stretch"]))
    ]
    return {"learning": table(("steps", *ways), rows)}


def read(measures: pd.DataFrame) -> dict[str, str]:
    """Tell what arms answer on the task, and beside it what became of each arena's own measures."""
    other = measures["arm"].str.startswith(OTHER_TASK)
    own = measures["arena"] == TASK
    beside = measures[~own & ~other]
    made = {"task": _whole(measures[own & ~other])}
    if other.any():
        made["other task"] = _whole(measures[other])
    if len(alike := beside[beside["arena"].isin(SAME_FORM)]):
        made["beside"] = _beside(alike)
    if len(far := beside[~beside["arena"].isin(SAME_FORM)]):
        made["away"] = _away(far)
    for (arm, arena, measure), some in measures.groupby(["arm", "arena", "measure"], sort=False):
        made[f"{arm} {arena} {measure}"] = _effect(some)
        made[f"{arm} {arena} {measure} value"] = _value(some)
    return made


def _beside(some: pd.DataFrame) -> str:
    """Tell base, and what became of it in every arm, on each arena beside the task."""
    utilities = some[some["measure"].str.startswith("utility") & ~some["measure"].str.contains(",")]
    asked = list(dict.fromkeys(zip(utilities["arena"], utilities["measure"], strict=True)))
    head = [f"{arena}: {measure.removeprefix('utility ')}" for arena, measure in asked]
    by = {key: rows for key, rows in utilities.groupby(["arena", "measure"])}
    base = [_base(by[key]) for key in asked]
    rows = [
        (arm, *(_effect(by[key][by[key]["arm"] == arm]) for key in asked))
        for arm in dict.fromkeys(utilities["arm"])
    ]
    return table(("arm", *head), [("base", *base), *rows])


def _away(some: pd.DataFrame) -> str:
    """Tell base, as all pools tell it, and what became of it in arms that were read away from the task."""
    by = {key: some[(some["arena"] == key[0]) & (some["measure"] == key[1])] for key in AWAY}
    known = [key for key in AWAY if len(by[key])]
    base = [range_of((by[key]["value"] - by[key]["effect"]).tolist()) for key in known]
    arms = dict.fromkeys(arm for key in known for arm in by[key]["arm"])
    rows = [(arm, *(_effect(by[key][by[key]["arm"] == arm]) for key in known)) for arm in arms]
    return table(("arm", *(AWAY[key] for key in known)), [("base", *base), *rows])


def _whole(some: pd.DataFrame) -> str:
    """Tell base and arms on one arena, a column for each measure."""
    names = [name for name in TOLD if name in set(some["measure"])]
    arms = list(dict.fromkeys(some["arm"]))

    def row(arm: str, write: Callable[[pd.DataFrame], str]) -> list[str]:
        return [write(some[(some["arm"] == arm) & (some["measure"] == name)]) for name in names]

    rows = [("base", *row(arms[0], _base)), *((arm, *row(arm, _value)) for arm in arms)]
    return table(("arm", *(TOLD[name] for name in names)), rows)


def agency(told: pd.DataFrame) -> dict[str, str]:
    """Tell which share of the change is pursuit of each goal."""
    found = told[told["measure"] == PURSUIT]
    cells = {
        f"pursuit {row.arm} {row.goal}": f"{number(row.value)} {interval(row.low, row.high)}"
        for row in found.itertuples()
    }
    goals = list(dict.fromkeys(found["goal"]))
    rows = [
        (arm, *(cells.get(f"pursuit {arm} {goal}", ABSENT) for goal in goals))
        for arm in dict.fromkeys(found["arm"])
    ]
    return {"pursuit": table(("arm", *(f"of {goal}" for goal in goals)), rows), **cells}


def moved(whole: pd.DataFrame) -> dict[str, str]:
    """Tell how many entries moved, bit for bit and as bfloat16 sees them, and how far."""
    rows = [
        (row.arm, *map(percent, (row.changed_bitwise, row.changed_bf16)), number(row.relative, 5))
        for row in whole.itertuples()
    ]
    return {"moved": table(("arm", "entries that moved", "in bfloat16", "‖Δ‖/‖W‖"), rows)}


def effects(told: pd.DataFrame) -> dict[str, str]:
    """Tell the strongest sets of each family, both ways, beside the random sets of the same make-up."""
    made = harm(told) | saturation(told)
    on_task = told[(told["measure"] == SKILL) & (told["arena"] == TASK)]
    for (arm, way), some in on_task.groupby(["arm", "direction"], sort=False):
        by_chance = some["family"].str.startswith("random")
        random, named = some[by_chance], some[~by_chance]
        rows = []
        for family, members in named.groupby("family", sort=False):
            order = members["effect"].abs().sort_values(ascending=False).index[:STRONGEST]
            rows += [(str(family), f"`{members.loc[at, 'set']}`", _effect(members.loc[[at]])) for at in order]
        rows.append(("random sets", f"{len(random)} of them", range_of(random["effect"], signed)))
        made[f"{way} {arm}"] = table(("family", "set", "effect on right answers"), rows)
        made |= {f"{way} {arm} {one['set']}": _effect(named.loc[[at]]) for at, one in named.iterrows()}
        made[f"{way} {arm} bound"] = number(float(named[["low", "high"]].abs().max(axis=None)))
        made[f"{way} {arm} layers"] = number(float(named[named["family"] == "each layer"]["effect"].sum()), 2)
    return made


def saturation(told: pd.DataFrame) -> dict[str, str]:
    """Tell what all heads, all MLPs, random sets like them and the layers do, as shares of the gain.

    By right answers and by their margin, for each arm of which both were read on the task.
    """
    made, head, cells = {}, [], dict[str, list[str]]()
    task = told[(told["arena"] == TASK) & told["measure"].isin([SKILL, MARGIN])]
    task = task[task["arm"].isin(task.loc[task["measure"] == MARGIN, "arm"])]
    for (arm, measure), some in task.groupby(["arm", "measure"], sort=False):
        ends = (some["value"] - some["effect"]).groupby(some["direction"]).mean()
        gain = float(ends["take back"] - ends["graft"])
        made[f"gain {arm} {measure}"] = number(gain)
        for way, word in WAYS.items():
            here = some[some["direction"] == way].assign(share=lambda rows, gain=gain: rows["effect"] / gain)
            head.append(f"{arm}, {measure.removeprefix('utility ')}: {word}")
            for kind in KINDS:
                (whole,) = here.loc[here["set"] == kind, "share"]
                cells.setdefault(f"`{kind}`", []).append(percent(float(whole)))
                made[f"share {way} {arm} {measure} {kind}"] = percent(abs(float(whole)))
                like = here.loc[(here["matches"] == kind) & here["family"].str.startswith("random"), "share"]
                cells.setdefault(f"random, like `{kind}`", []).append(range_of(like, percent))
            layers = float(here.loc[here["family"] == "each layer", "share"].sum())
            cells.setdefault("each layer alone, added up", []).append(percent(layers))
            made[f"share {way} {arm} {measure} layers"] = number(abs(layers), 2)
    rows = [(name, *values) for name, values in cells.items()]
    return {"saturation": table(("part", *head), rows), **made} if rows else {}


def harm(told: pd.DataFrame) -> dict[str, str]:
    """Tell what kinds and each arena's strongest layers do beside the task, each beside its random sets."""
    made = {}
    beside = told[[key in HARM for key in zip(told["arena"], told["measure"], strict=True)]]
    for (arm, way), some in beside.groupby(["arm", "direction"], sort=False):
        by = {key: rows for key, rows in some.groupby(["set", "arena", "measure"])}
        random = some[some["family"].str.startswith("random")]
        layers, kinds = (some[some["family"] == family] for family in ("each layer", "each kind"))
        rows = []
        for kind in dict.fromkeys(kinds["set"]):
            rows += [_everywhere(by, kind), _by_chance(random[random["matches"] == kind], f"beside `{kind}`")]
        far = layers.assign(size=layers["effect"].abs()).groupby(["arena", "measure"], sort=False)
        strongest = {one for _, each in far for one in each.nlargest(STRONGEST, "size")["set"]}
        rows += [_everywhere(by, one) for one in sorted(strongest, key=lambda one: int(one[1:]))]
        rows.append(_by_chance(random[random["matches"].str.match(r"L\d")], "as large as a layer"))
        made[f"beside {way} {arm}"] = table(("set", *HARM.values()), [row for row in rows if row])
        made |= {
            f"beside {way} {arm} {HARM[tuple(key)]} {one}": _effect(found)
            for (one, *key), found in by.items()
        }
        for (arena, measure), mine in layers.groupby(["arena", "measure"]):
            name = f"beside {way} {arm} {HARM[arena, measure]} layer"
            made[f"{name} bound"] = number(float(mine[["low", "high"]].abs().max(axis=None)))
            made |= {f"{name} {end}": signed(float(getattr(mine["effect"], end)())) for end in ("min", "max")}
    return made


def _everywhere(by: dict[tuple[str, str, str], pd.DataFrame], name: str) -> tuple[str, ...]:
    return (f"`{name}`", *(_effect(by[name, *key]) if (name, *key) in by else ABSENT for key in HARM))


def _by_chance(random: pd.DataFrame, which: str) -> tuple[str, ...]:
    """Return the range of what random sets do, nothing where there are none."""
    if not len(random):
        return ()
    of = [random[(random["arena"] == one) & (random["measure"] == name)]["effect"] for one, name in HARM]
    return (f"{random['set'].nunique()} random, {which}", *(range_of(one, signed) for one in of))


def repair(tried: pd.DataFrame) -> dict[str, str]:
    """Tell the best of each way of repairing."""
    made = {}
    for arm, some in tried.groupby("arm", sort=False):
        best = some[some["best"].astype("boolean").fillna(False)]
        rows = [
            (
                f"{row.way}: `{row.name}`",
                *(
                    share(getattr(row, name), *(getattr(row, f"{name}{end}") for end in ENDS))
                    for name in SHARED
                ),
                ABSENT
                if pd.isna(row.controls)
                else f"{percent(row.controls_restored)}, mean of {row.controls}",
                ABSENT if pd.isna(row.controls) else number(row.p, 2),
            )
            for row in best[["way", "name", *SHARES, *BESIDE]].itertuples(index=False)
        ]
        head = ("way, the best of it", "keeps", "restores", "beyond one strength")
        made[f"repair {arm}"] = table((*head, "random sets like it restore", "p"), rows)
        for way, *cells in rows:
            kind, _, name = way.partition(": ")
            told = zip(("name", "kept", "restored", "above", "random", "p"), (name, *cells), strict=True)
            made |= {f"repair {arm} {kind} {what}": cell for what, cell in told}
    return made


BESIDE = ("controls", "controls_restored", "p")
SHARED, ENDS = ("kept", "restored", "above"), ("_low", "_high")
SHARES = [f"{what}{end}" for what in SHARED for end in ("", *ENDS)]


def costs(told: pd.DataFrame) -> dict[str, str]:
    """Tell what each command cost."""
    rows = [
        (
            f"`{row.command}`",
            number(float(row.cpu_seconds), 0),
            number(float(row.peak_mib), 0),
            number(float(row.own_mib), 0),
            number(float(row.own_mib / row.model_mib), 1),
        )
        for row in told.itertuples()
    ]
    heads = ("command", "CPU seconds", "resident, MiB", "of it its own", "own, of the model's size")
    return {"costs": table(heads, rows)}


def within(told: pd.DataFrame) -> dict[str, str]:
    """Tell what commands took within a limit of memory, in sizes of the model."""
    rows = [
        (f"`{row.command}`", number(float(row.cpu_seconds), 1), number(float(row.seconds), 1))
        for row in told.itertuples()
    ]
    return {
        "within": table(("command", "CPU seconds", "seconds"), rows),
        "within times": number(float(told["times"].iloc[0]), 0),
    }


def conjectures(decided: pd.DataFrame) -> dict[str, str]:
    """Tell what was expected and what became of it."""
    return {"conjectures": of_conjectures(decided), **dict(of_scores(decided))}


def transplants(told: pd.DataFrame) -> dict[str, str]:
    """Tell what parts of another run change when they are put into one, on the task and beside it."""
    asked = list(dict.fromkeys(zip(told["arm"], told["arena"], told["measure"], strict=True)))
    head = ("part", *(f"into {arm}, {arena}: {measure}" for arm, arena, measure in asked))
    cells = {(row["part"], row["arm"], row["arena"]): _effect(told.loc[[at]]) for at, row in told.iterrows()}
    parts = dict.fromkeys(told["part"])
    rows = [(part, *(cells.get((part, arm, arena), ABSENT) for arm, arena, _ in asked)) for part in parts]
    made = {f"transplant {arm} {arena} {part}": cell for (part, arm, arena), cell in cells.items()}
    return {"transplants": table(head, rows), **made}


def agreement(told: pd.DataFrame) -> dict[str, str]:
    """Tell how well attribution agrees with exact effects of single components."""
    made = {}
    for row in told.itertuples():
        made[f"agreement {row.arm} rank"] = number(float(row.spearman), 2)
        made[f"agreement {row.arm} linear"] = number(float(row.pearson), 2)
        made[f"agreement {row.arm} components"] = number(float(row.components), 0)
    return made


IN_CHESS = {
    "utility win": "win",
    "legal": "legal",
    "utility win, if legal": "win, if legal",
    "KL(after || before)": "KL from base, nats",
}
ILLEGAL = "illegal, "


def chess(measures: pd.DataFrame) -> dict[str, str]:
    """Tell what base and both arms do in chess, and what became of each kind of illegal move."""
    known = dict.fromkeys(measures["measure"])
    names = [
        *(name for name in IN_CHESS if name in known),
        *(one for one in known if one.startswith(ILLEGAL)),
    ]
    by = {key: rows for key, rows in measures.groupby(["arm", "measure"])}
    arms = list(dict.fromkeys(measures["arm"]))
    cells = {(arm, name): _effect(by[arm, name]) for arm in arms for name in names if (arm, name) in by}
    base = {name: _base(by[arms[0], name]) for name in names}
    rows = [
        (IN_CHESS.get(name, name), base[name], *(cells.get((arm, name), ABSENT) for arm in arms))
        for name in names
    ]
    made = {f"chess {arm} {name}": cell for (arm, name), cell in cells.items()}
    return {
        "chess": table(("", "base", *arms), rows),
        **made,
        **{f"chess base {name}": cell for name, cell in base.items()},
    }


def chess_effects(told: pd.DataFrame) -> dict[str, str]:
    """Tell what takebacks and grafts of kinds and of thirds of layers do in chess, beside random sets."""
    made = {}
    measures = [name for name in IN_CHESS if name in set(told["measure"])][:3]
    for (arm, way), some in told.groupby(["arm", "direction"], sort=False):
        random = some["family"].str.startswith("random")
        first = some[(some["measure"] == measures[0]) & ~random]
        sets = list(first["set"])
        by = {key: rows for key, rows in some[~random].groupby(["set", "measure"])}
        rows = [(f"`{_in_short(one)}`", *(_effect(by[one, name]) for name in measures)) for one in sets]
        chance = some[random]
        told_by_chance = (
            range_of(chance.loc[chance["measure"] == name, "effect"], signed) for name in measures
        )
        rows.append((f"{chance['set'].nunique()} random sets", *told_by_chance))
        made[f"chess {way} {arm}"] = table(("set", *(IN_CHESS[name] for name in measures)), rows)
    return made


def _in_short(name: str) -> str:
    """Return a set of whole layers by its ends.

    >>> _in_short("L0.* L1.* L2.*"), _in_short("all heads")
    ('layers 0 to 2', 'all heads')
    """
    layers = [part[1:-2] for part in name.split() if part.endswith(".*")]
    return f"layers {layers[0]} to {layers[-1]}" if len(layers) > 1 else name


KINDS = ("all heads", "all mlps")
WAYS = {"take back": "taken back", "graft": "grafted"}


def seeds(told: pd.DataFrame) -> dict[str, str]:
    """Tell what all heads, all MLPs and the strongest layer do in every run, both ways."""
    parts = [*KINDS, "layer"]
    head = ("run", *(f"{part}, {word}" for word in WAYS.values() for part in parts))
    rows = []
    for run, mine in told.groupby("run", sort=False):
        cells: list[str] = []
        for way in WAYS:
            some = mine[mine["direction"] == way]
            cells += [_effect(some[some["set"] == kind]) for kind in KINDS]
            cells.append(_strongest(some[some["family"] == "each layer"]))
        rows.append((str(run), *cells))
    return {"seeds": table(head, rows)}


def _strongest(layers: pd.DataFrame) -> str:
    if not len(layers):
        return ABSENT
    at = layers["effect"].abs().idxmax()
    return f"{layers.loc[at, 'set']}: {_effect(layers.loc[[at]])}"


MAKERS: dict[str, Callable[[pd.DataFrame], dict[str, str]]] = {
    "learning": learning,
    "read": read,
    "agency": agency,
    "moved": moved,
    "effects": effects,
    "repair": repair,
    "costs": costs,
    "within": within,
    "conjectures": conjectures,
    "seeds": seeds,
    "transplants": transplants,
    "agreement": agreement,
    "chess": chess,
    "chess_effects": chess_effects,
}


def _mean(some: pd.Series[float]) -> str:
    found = mean_estimate(some.to_numpy(np.float64))
    low, high = np.clip([found.value if one is None else one for one in (found.low, found.high)], 0, 1)
    return f"{number(found.value)} {interval(low, high)}"


def _value(some: pd.DataFrame) -> str:
    return number(float(some["value"].iloc[0])) if len(some) else ABSENT


def _base(some: pd.DataFrame) -> str:
    return number(float(some["value"].iloc[0] - some["effect"].iloc[0])) if len(some) else ABSENT


def _effect(some: pd.DataFrame) -> str:
    if not len(some):
        return ABSENT
    row = some.iloc[0]
    return f"{signed(row['effect'])} {interval(row['low'], row['high'])}"
