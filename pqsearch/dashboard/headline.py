"""What a person asks first of a search, as a few words each: how far, how good, when, and what went wrong."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

from pqsearch.console import duration
from pqsearch.dashboard.watched import Watched
from pqsearch.plan import Accuracy
from pqsearch.report.page import ENDS
from pqsearch.target_words import target_short
from pqsearch.worker_words import amount

#: A journal that has been quiet for so long is worth a word while a search runs.
QUIET_SECONDS = 60.0


def headline(watched: Watched, now: float | None = None) -> dict[str, Any]:
    """Plain values for the top of the page: `name`, `state` (running, stopped or finished), sentences, numbers with their words.

    `now` is the time in the journal's clock, that of day unless given.
    """
    now = time.time() if now is None else now
    state, spec = watched.state, watched.spec
    standing, sentence, command = _standing(watched, now)
    found: dict[str, Any] = {
        "name": spec.study.name,
        "algorithm": "",
        "state": standing,
        "sentence": sentence,
        "command": command,
        "trouble": watched.trouble,
        "log": watched.last_line(),
        "report": watched.run.report.is_file(),
        "cards": [],
        "budgets": [],
        "failures": [],
        "progress": None,
    }
    if not watched.begun:
        return found
    progress = state.progress(now=now if standing == "running" and not state.finished else None)
    best, limits = progress["best"], state.settings["budgets"]
    found["algorithm"] = str(state.settings["algorithm"]["name"])
    found["progress"] = {"done": progress["done"], "total": progress["total"]}
    found["cards"] = [
        _best_card(watched, best),
        _far_card(progress),
        _left_card(progress, standing),
        _failures_card(progress),
        _workers_card(watched, standing),
        _hours_card(watched),
    ]
    if progress["target"]:
        words = target_short(progress["target"]).removeprefix("target ")
        found["cards"].insert(1, _card("target", progress["target"]["state"], words))
    if best is not None:
        found["budgets"] = [
            {"name": name, "value": best["costs"][name], "limit": limit, "words": f"{best['costs'][name]:.4g} of {limit:g}"}
            for name, limit in limits.items()
        ]  # fmt: skip
    found["failures"] = [{"reason": reason, "count": count} for reason, count in watched.tracks.reasons.most_common()]
    return found


def _card(label: str, value: str, note: str) -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def _standing(watched: Watched, now: float) -> tuple[str, str, str | None]:
    """In one word, in a sentence, and the command that goes on; None where there is nothing to do or someone does it."""
    state, holder = watched.state, watched.holder()
    command = f"pqsearch run {shlex.quote(str(watched.run.spec))}"
    ended = f"The search is finished: {ENDS.get(state.stopped, state.stopped)}." if state.stopped else (
        "The search is finished."
    )  # fmt: skip
    if holder is not None and holder.alive is not False:
        if state.finished:
            return "running", f"{ended} What follows it goes on: {holder.words}.", None
        quiet = now - watched.tracks.last
        silence = f" The last event is {duration(quiet)} old." if watched.begun and quiet > QUIET_SECONDS else ""
        unsure = " (by its lock file; not of this machine)" if holder.alive is None else ""
        return "running", f"At work: {holder.words}{unsure}.{silence}", None
    if state.finished:
        if watched.run.report.is_file():
            return "finished", f"{ended} The report is written.", None
        return "finished", f"{ended} This fine-tunes and exports the best plans:", command
    how = "It was killed" if holder is not None else "Nobody works on it"
    return "stopped", f"{how}; nothing finished is lost. This goes on:", command


def _best_card(watched: Watched, best: Mapping[str, Any] | None) -> dict[str, str]:
    if best is None or not best["repeats"]:
        return _card("best plan", "none yet", "no candidate is done")
    mean = sum(best["repeats"]) / len(best["repeats"])
    measured = "measured once" if len(best["repeats"]) == 1 else f"mean of {len(best['repeats'])} measurements"
    note = f"proxy accuracy of candidate {best['id']}, {measured} on {best['images']} images"
    if watched.state.settings["objectives"][0] == "loss":
        note += f", loss {best['score']:.4g}"
    for role, words in (("uniform_filled", "filled uniform plan"), ("uniform", "uniform plan")):
        row = watched.state.best(role)
        if row is not None and row["id"] != best["id"]:
            ahead = mean - sum(row["repeats"]) / len(row["repeats"])
            note += f"; {100 * abs(ahead):.1f} points {'above' if ahead >= 0 else 'below'} the {words}"
            break
    error = Accuracy(mean, best["images"], best["deviation"]).standard_error
    return _card("best plan", f"{100 * mean:.1f} ± {100 * error:.1f} %", note)


def _far_card(progress: Mapping[str, Any]) -> dict[str, str]:
    note = f"{progress['asked']} plans asked, {progress['duplicates']} of them known already and not evaluated again"
    if progress["halted"]:
        note += f", {progress['halted']} stopped early"
    if progress["recomputed"]:
        note += f", {progress['recomputed']} rungs climbed once more"
    return _card(f"evaluations, {progress['phase']}", f"{progress['done']} of {progress['total']}", note)


def _left_card(progress: Mapping[str, Any], standing: str) -> dict[str, str]:
    pace = f"{60 * progress['rate']:.3g} evaluations a minute, {duration(progress['seconds'])} of searching so far"
    if progress["phase"] == "finished":
        return _card("time left", "none", pace)
    if progress["eta_seconds"] is None:
        return _card("time left", "not known", "nothing is evaluated yet")
    label = "time left" if standing == "running" else "time left once it goes on"
    return _card(label, duration(progress["eta_seconds"]), pace)


def _failures_card(progress: Mapping[str, Any]) -> dict[str, str]:
    share = f"{progress['failed'] / progress['done']:.1%} of what was evaluated" if progress["done"] else ""
    return _card("failures", str(progress["failed"]), share or "nothing is evaluated yet")


def _workers_card(watched: Watched, standing: str) -> dict[str, str]:
    tracks, wanted = watched.tracks, watched.spec.workers.count
    busy, seen = tracks.busy(), len(tracks.workers())
    value = "not known" if busy is None else f"{busy:.0%} busy"
    note = f"{seen} of {wanted} workers have ended something since the search was opened"
    waiting = len(watched.state.open)
    if standing == "running" and waiting:
        note += f"; {waiting} evaluations at work or waiting"
    return _card("workers", value, note)


def _hours_card(watched: Watched) -> dict[str, str]:
    spent = watched.worker_hours()
    price = f", which cost {amount(spent['cost'])}" if spent["cost"] is not None else ""
    fine = f", {amount(spent['finetune'])} of them in full fine-tunes" if spent["finetune"] else ""
    return _card("worker hours", amount(spent["total"]), f"in what came to an end{fine}{price}")
