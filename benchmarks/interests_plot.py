"""Pictures of `interests.py`: what each setting of a mixture does, on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recsys.interests import InterestsConfig
from training.interests import CHOSEN_BY, Trial

#: what is varied, and what people call it
SETTINGS = {
    "clusters": "clusters",
    "components": "interests that ask",
    "mixing": "share of similar users",
    "neighbours": "similar users",
}


def value_of(config: InterestsConfig, setting: str) -> float:
    """What a configuration has for a setting."""
    return config.clusters.clusters if setting == "clusters" else getattr(config, setting)


def rest(config: InterestsConfig, setting: str) -> list[float]:
    """What it has for the others."""
    return [value_of(config, one) for one in SETTINGS if one != setting]


def draw(trials: Mapping[str, Sequence[Trial]], path: Path) -> None:
    """Recall above, distance inside lists below, against each setting, a line a case.

    Args:
        trials: By case.
        path: Where the picture goes.
    """
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(SETTINGS), sharex="col")
    for column, (setting, label) in enumerate(SETTINGS.items()):
        for case, all_of_it in trials.items():
            varied = [one for one in all_of_it if one.setting == setting]
            if not varied:
                continue
            # of a setting that is varied twice, the later time has the better others; none is tried twice, so that one
            # of them may have been tried for another setting
            alike = [one for one in all_of_it if rest(one.config, setting) == rest(varied[-1].config, setting)]
            found = {value_of(one.config, setting): one.figures for one in alike}
            values = sorted(found)
            for row, metric in enumerate((CHOSEN_BY, "distance")):
                panels[row, column].plot(values, [found[one][metric] for one in values], "o-", lw=1, label=case)
        panels[1, column].set_xlabel(label)
        if setting != "mixing":
            panels[1, column].set_xscale("log")
    panels[0, 0].set_ylabel(f"{CHOSEN_BY} on validation")
    panels[1, 0].set_ylabel("distance inside lists")
    panels[0, -1].legend(fontsize=8)
    figure.savefig(path, dpi=130)
