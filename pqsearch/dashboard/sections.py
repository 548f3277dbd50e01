"""The page's figures, each with its heading and words, made anew from a study as it stands."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import plotly.graph_objects as go

from pqsearch.dashboard import figures as ours
from pqsearch.dashboard.sample import MOST_DRAWN, drawn, evenly, on_front
from pqsearch.dashboard.watched import Watched
from pqsearch.front import front_of
from pqsearch.report import figures, knob_maps
from pqsearch.report.correlation import rank_correlation, rung_pairs
from pqsearch.report.correlation_words import final_sentences, rung_sentences

#: Plans shown layer by layer, and the colour of each.
BEST, SECOND, UNIFORM = "best plan", "second best", "uniform, filled"
PLAN_COLOURS = {BEST: figures.BLUE, SECOND: figures.PURPLE, UNIFORM: figures.ORANGE}
#: The leading share of the plans whose agreement is shown: a tenth, but not fewer or more than these.
LEADING_SHARE, FEWEST_LEADING, MOST_LEADING = 0.1, 10, 200
#: A rank correlation is computed anew when so much has been added to its plans: its interval takes a second.
GROWN = 1.1
#: Width that a layer takes at least, and what is beside them all.
LAYER_PIXELS, MARGIN_PIXELS = 13, 80
COST_WORDS = (
    "Each candidate is under every budget (dashed line). The steps are the best at each cost or below. "
    "A double click shows plans that leave more of it unused."
)


@dataclass(frozen=True)
class Section:
    """One figure with its heading and the words under it. It takes a `share` of the width of a page where that is wide, and scrolls
    by itself where it has less than `least` pixels.

    `draw` makes the figure, None where there are words only: it costs tens of milliseconds, for whoever looks at it. `key` is
    another one when the figure is.
    """

    id: str
    title: str
    words: str
    key: Hashable
    draw: Callable[[], go.Figure] | None
    share: Literal["third", "half", "whole"] = "half"
    least: int = 0


class Sections:
    """Makes a run's sections. What they say of candidates is of at most some 1,500 of them (`pqsearch.dashboard.sample`).

    Names of layers are whatever a model's author chose: they are escaped before a figure has them.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._info = escaped(watched.run.read(watched.run.layers))
        self._rows: dict[int, tuple[tuple[str, int], dict[str, Any]]] = {}
        self._taus: dict[int, dict[str, Any]] = {}

    def make(self) -> list[Section]:
        """Sections that there is something to show in, in their order on the page."""
        if not self._watched.begun:
            return []
        rows = self._drawn()
        parts = [self._work(), self._layers_can_bear(), self._ranks(), self._final()]
        if rows:
            parts = [self._scores(rows), self._plans(), *parts]
        return [section for part in parts for section in part]

    def _drawn(self) -> list[dict[str, Any]]:
        """Rows of the candidates to be drawn; those that have not changed are not made anew."""
        state, known, found = self._watched.state, self._rows, {}
        for id in drawn(state):
            key = state.by_id[id].state, len(state.by_id[id].measurements)
            before = known.get(id)
            found[id] = before if before is not None and before[0] == key else (key, escaped(state.row(id)))
        self._rows = found
        return [row for _, row in found.values()]

    def _scores(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
        state, hours = self._watched.state, self._watched.tracks.hours
        key, done = self._watched.events, state.counts["done"]
        words = f"{len(rows)} of {done} candidates are drawn; the line is that of all." if len(rows) < done else ""
        yield Section("evaluations", "Score against evaluations", words, key, partial(figures.convergence, rows))
        yield Section("hours", "Score against worker hours", words, key, partial(figures.convergence, rows, hours))
        objectives = state.settings["objectives"]
        if len(objectives) > 1:
            found = escaped(front_of(state, sorted({*on_front(state), *(row["id"] for row in rows)})))
            title, words = f"Pareto front: {', '.join(objectives)}", f"{len(found['plans'])} plans are on it."
            yield Section("front", title, words, key, partial(figures.front, rows, found), share="whole")
        for name, limit in state.settings["budgets"].items():
            draw = partial(ours.against_cost, rows, name, limit)
            yield Section(f"cost-{name}", f"Score against {name}", COST_WORDS, (key, limit), draw, share="third")

    def _plans(self) -> Iterator[Section]:
        state = self._watched.state
        number = min(MOST_LEADING, max(FEWEST_LEADING, round(LEADING_SHARE * len(state.scores))))
        leading, uniform = state.leading(number), state.best("uniform_filled")
        if not leading:
            return
        plans = dict(zip((BEST, SECOND), (row["plan"] for row in leading), strict=False))
        if uniform is not None:
            plans[UNIFORM] = uniform["plan"]
        key = tuple(row["id"] for row in leading)
        if self._info is not None:
            words = f"Candidates {' and '.join(map(str, key[:2]))}." if len(key) > 1 else f"Candidate {key[0]}."
            draw = partial(figures.layers, self._info, escaped(plans), PLAN_COLOURS)
            least = LAYER_PIXELS * len(self._info["layers"]) + MARGIN_PIXELS
            one = key[:2], uniform and uniform["id"]
            yield Section("plans", "The best plans, layer by layer", words, one, draw, share="whole", least=least)
        table = escaped(ours.shares(state.table, [row["genes"] for row in leading]))
        for kind in dict.fromkeys(row["kind"] for row in table):
            words = f"The share of the {len(leading)} leading plans that chose each value."
            draw = partial(knob_maps.agreement, [row for row in table if row["kind"] == kind])
            title = f"What leading plans agree on: {knob_maps.TITLES[kind]}"
            yield Section(f"agreement-{kind}", title, words, tuple(sorted(key)), draw, share="third")

    def _work(self) -> Iterator[Section]:
        state, tracks, key = self._watched.state, self._watched.tracks, self._watched.events
        kinds = [rung.kind for rung in self._watched.spec.rungs]
        waiting = Counter(task.rung for task in state.open.values() if task.repeat == 0 and task.id >= 0)
        if state.by_id:
            words = f"{len(state.by_id)} plans were asked, {state.counts['same']} of them known already."
            draw = partial(ours.rung_flow, tracks.passed, waiting, kinds)
            yield Section("rungs", "How rungs are passed", words, key, draw)
        workers = tracks.workers()
        if workers:
            pieces, falls = [piece for piece in tracks.pieces if piece.ended >= tracks.opened], list(tracks.falls)
            draw = partial(ours.timeline, pieces, falls, workers)
            yield Section("workers", "Who worked when", self._work_words(len(pieces), len(workers)), key, draw)

    def _work_words(self, pieces: int, workers: int) -> str:
        busy = self._watched.tracks.busy()
        words = f"The latest {min(pieces, ours.MOST_PIECES)} evaluations, by the clock of the machine that serves this page."
        if busy is not None:
            words += f" {busy:.0%} of the workers' time went into evaluations that ended."
        if workers > ours.MOST_WORKERS:
            words += f" {ours.MOST_WORKERS} of {workers} workers are shown."
        return words

    def _layers_can_bear(self) -> Iterator[Section]:
        probing = self._watched.state.probing
        table = escaped(probing.table()) if probing is not None else []
        for kind in dict.fromkeys(row["kind"] for row in table):
            words = "What one change alone costs in loss, all else at its dearest: darker is worse, by a logarithm."
            draw = partial(knob_maps.sensitivity, [row for row in table if row["kind"] == kind], table)
            title = f"What layers can bear: {knob_maps.TITLES[kind]}"
            yield Section(f"sensitivity-{kind}", title, words, len(table), draw, share="third")

    def _ranks(self) -> Iterator[Section]:
        state = self._watched.state
        for rung in range(state.settings["rungs"] - 1):
            ids = [id for id in sorted(state.by_id) if len(state.by_id[id].measurements) > rung + 1]
            rows = [{"measurements": state.by_id[id].measurements} for id in evenly(ids, MOST_DRAWN)]
            pairs = rung_pairs(rows, rung)
            if pairs:
                before = self._taus.get(rung)
                if before is None or not before["plans"] <= len(pairs) < GROWN * before["plans"]:
                    self._taus[rung] = {"rung": rung, "next": rung + 1, **rank_correlation(pairs)}
                words = " ".join(rung_sentences([self._taus[rung]]))
                title = f"What rung {rung + 1} says of rung {rung + 2}"
                yield Section(f"rank-{rung}", title, words, len(ids), partial(figures.rung_pair, pairs, rung))

    def _final(self) -> Iterator[Section]:
        run = self._watched.run
        found = run.read(run.correlation)
        words = " ".join(final_sentences(found, str(run.path)))
        if found is None or not found["plans"]:
            yield Section("final", "What the proxy says of the full fine-tune", words, words, None)
            return
        for part, title in figures.FINAL_PARTS.items():
            draw = partial(figures.finals, found, {part: title})
            yield Section(f"final-{part}", f"What the proxy says of the {title}", words, words, draw)


def escaped(value: Any) -> Any:
    """JSON values with every text, keys included, as a figure shows it literally: plotly reads tags in texts."""
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, Mapping):
        return {
            html.escape(key, quote=False) if isinstance(key, str) else key: escaped(one) for key, one in value.items()
        }
    if isinstance(value, list):
        return [escaped(one) for one in value]
    return value
