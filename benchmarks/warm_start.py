"""What a warm start saves, and whether it harms: replayed on the recorded tables.

    python benchmarks/warm_start.py --seeds 20

An earlier study (30 trials, TPE, nobody stopped) on one task, then a study of 30 trials on another:
begun from nothing (`cold`), or with `warm_start` in the two forms that the service knows:

observed   the same space: the sampler is shown the earlier trials as its own
points     spaces that only overlap: the five best are tried first, and the sampler learns from those

`saved` is the share of trials that the warm search does not need: a cold search needs 20 trials to come
to some loss, the warm one needs n <= 30 to come as low, and 1 - n / 20 is saved (negative where it needs
more; 30 where it never comes there). Medians over seeds with 95% bootstrap intervals; paired by seed:
cold and warm have the same seed, and the warm one knows the earlier study of that seed. `regret` is the
difference in regret after 30 trials, warm less cold, in percent of the gap between the best and the median
configuration; negative is better, and "not distinguishable" where the interval holds 0.

`noise` is a study of nothing: configurations of a search on the same task, their losses shuffled. `nothing`
is a second cold search by another seed: what these two columns say where nothing was known.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from search import interval, landscape
from search_methods import TPE, Config, Ours, first_points, search
from tables import EPOCHS, SPACE, Surrogate, surrogates

from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.warm_start import EarlierTrial, WarmStart, warm_start_from
from schedulers import FIFORule

TRIALS, COLD = 30, 20
PAIRS = [
    # earlier, now, what they have in common
    ("pumps-quarter", "pumps", "a quarter of its rows"),
    ("digits-quarter", "digits", "a quarter of its rows"),
    ("cancer", "digits", "classes too, other data"),
    ("pumps", "diabetes", "numbers too, other data"),
    ("diabetes", "digits", "nothing"),
    ("digits", "pumps", "nothing"),
    ("nothing", "pumps", "cold again, by another seed"),
    ("nothing", "digits", "cold again, by another seed"),
    ("noise", "pumps", "noise"),
    ("noise", "digits", "noise"),
]


def study(table: Surrogate, seed: int, warm: WarmStart | None = None) -> tuple[list[Config], list[float]]:
    """A search of whole trials: what was tried, and each final loss, in order of asking."""
    points = [] if warm and (warm.observed or warm.points) else first_points(seed)
    method = Ours(TPE, seed, points=points, warm=warm)
    tried: list[Config] = []

    def curve(config: Config) -> list[float]:
        tried.append(config)
        return table.curve(config)

    search(method, FIFORule(max_resource=EPOCHS), curve, TRIALS, TRIALS * EPOCHS)
    return tried, [table.curve(config)[-1] for config in tried]


def earlier(tables: dict[str, Surrogate], name: str, now: str, seed: int) -> list[EarlierTrial]:
    """The trials of the earlier study."""
    tried, losses = study(tables[now if name == "noise" else name], 1000 + seed)
    if name == "noise":
        losses = list(np.random.default_rng(seed).permutation(losses))
    return [
        EarlierTrial(config, loss, EPOCHS, completed=True)
        for config, loss in zip(tried, losses, strict=True)
        if np.isfinite(loss)
    ]


def needed(losses: Sequence[float], goal: float) -> int:
    """Trials until the loss is as low as that; all, if it never is."""
    return next((count for count, loss in enumerate(losses, start=1) if loss <= goal), len(losses))


def compare(tables: dict[str, Surrogate], seeds: int, pairs: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """A row for each pair of tasks and each form of warm start."""
    space = OptunaSpace(SPACE)
    yield "| earlier | now | in common | form | trials saved, % (median) | regret, warm - cold, points |"
    yield "|---|---|---|---|---|---|"
    colds: dict[tuple[str, int], list[float]] = {}
    for before, now, common in pairs:
        low, median = landscape(now, "smooth")
        forms = ("cold",) if before == "nothing" else ("observed", "points")
        rows: dict[str, list[tuple[float, float]]] = {form: [] for form in forms}
        for seed in range(seeds):
            if (now, seed) not in colds:
                colds[now, seed] = study(tables[now], seed)[1]
            cold = colds[now, seed]
            for form, row in rows.items():
                if form == "cold":
                    losses = study(tables[now], 2000 + seed)[1]
                else:
                    other = space if form == "observed" else OptunaSpace(dict(list(SPACE.items())[:-1]))
                    warm = warm_start_from(before, earlier(tables, before, now, seed), other, space, TPE)
                    losses = study(tables[now], seed, warm)[1]
                saved = 1 - needed(losses, float(np.nanmin(cold[:COLD]))) / COLD
                gap = (np.nanmin(losses) - np.nanmin(cold)) / (median - low)
                row.append((100 * saved, 100 * gap))
        for form, row in rows.items():
            yield f"| {before} | {now} | {common} | {form} | {cells(np.array(row))} |"


def cells(row: Any) -> str:
    """The median share saved and the mean difference in regret, each with its interval."""
    drawn = np.random.default_rng(0).choice(row[:, 0], (4000, len(row)))
    least, most = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    mean, low, high = interval([row[:, 1]])
    verdict = " not distinguishable" if low <= 0 <= high else ""
    saved = f"{np.median(row[:, 0]):.0f} [{least:.0f}, {most:.0f}]"
    return f"{saved} | {mean:+.1f} [{low:+.1f}, {high:+.1f}]{verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--earlier", nargs="+", help="only pairs with these earlier studies")
    options = parser.parse_args()
    pairs = [pair for pair in PAIRS if not options.earlier or pair[0] in options.earlier]
    names = [name for pair in pairs for name in pair[:2] if name not in ("noise", "nothing")]
    for line in compare(surrogates(list(dict.fromkeys(names))), options.seeds, pairs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
