"""Grafana: a board of a search's metrics, as JSON to import; it is the same for all studies, and opens on this one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.order import Order
from cluster.rendered import Rendered
from pqsearch.metric_names import METRICS, RAYS, TAGS

#: Grafana's own number for how this JSON is written.
SCHEMA = 39
#: Grafana's grid is 24 wide.
WIDTH, NARROW, WIDE = 24, 6, 8
LOW, HIGH = 4, 8
#: What Grafana's own model of a variable holds whether it is used or not: without it, reading and writing would change the board.
OF_ANY_VARIABLE = {
    "id": "00000000-0000-0000-0000-000000000000",
    "hide": 0,
    "skipUrlSync": False,
    "auto": False,
    "auto_count": 30,
    "auto_min": "10s",
}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class _Panel:
    """Queries with their legends; the description is that of the first metric."""

    title: str
    queries: tuple[tuple[str, str], ...]
    metric: str
    unit: str = "short"
    kind: str = "timeseries"
    repeat: str | None = None


def render(order: Order) -> Rendered:
    """The board. Its queries find whatever Ray's nodes export."""
    board = {
        "uid": "pqsearch",
        "title": "pqsearch",
        "description": "Searches of pruning rates and bit widths, as the nodes of Ray export them to Prometheus.",
        "tags": ["pqsearch", "ray"],
        "style": "dark",
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "fiscalYearStartMonth": 0,
        "schemaVersion": SCHEMA,
        "templating": {"list": [*_variables(order.spec.study.name)]},
        "annotations": {"list": []},
        "panels": [*_laid_out()],
    }
    return Rendered(json.dumps(board, indent=2) + "\n")


def _variables(study: str) -> Iterator[dict[str, Any]]:
    yield {
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "multi": False, "includeAll": False, "refresh": 1, **OF_ANY_VARIABLE,
    }  # fmt: skip
    yield _query_variable(
        "study", "Study", f"{RAYS}pqsearch_evaluations", {"selected": True, "text": [study], "value": [study]}
    )
    chosen = {"selected": True, "text": ["All"], "value": ["$__all"]}
    yield _query_variable("budget", "Cost", f'{RAYS}pqsearch_best_cost{{study=~"$study"}}', chosen)


def _query_variable(label: str, title: str, metric: str, current: dict[str, Any]) -> dict[str, Any]:
    """The values that a label has, read anew when the time range changes; several may be chosen."""
    return {
        "name": label, "label": title, "type": "query", "datasource": SOURCE,
        "query": f"label_values({metric}, {label})",
        "current": current, "multi": True, "includeAll": True, "refresh": 2, "sort": 1, **OF_ANY_VARIABLE,
    }  # fmt: skip


def _latest(metric: str, more: str = "") -> str:
    """A study that begins anew is another process to Ray, and what the former one exported lingers: both are one series here."""
    tag = METRICS[metric].tag
    by = ", ".join([*TAGS, *([tag] if tag else [])])
    return f'max by ({by}) ({RAYS}{metric}{{study=~"$study"{more}}})'


def _one(title: str, metric: str, unit: str = "short", kind: str = "timeseries") -> _Panel:
    tag = METRICS[metric].tag
    legend = "{{study}} {{algorithm}}" + (f" {tag} {{{{{tag}}}}}" if tag else "")
    return _Panel(title, ((_latest(metric), legend),), metric, unit, kind)


def _panels() -> Iterator[_Panel]:
    done, planned = _latest("pqsearch_evaluations"), _latest("pqsearch_evaluations_planned")
    chosen = ', budget=~"$budget"'
    yield _Panel("Done", ((f"{done} / ({planned} > 0)", "{{study}}"),), "pqsearch_evaluations", "percentunit", "stat")
    yield _one("Best accuracy", "pqsearch_best_accuracy", "percentunit", "stat")
    yield _one("Busy", "pqsearch_busy_ratio", "percentunit", "stat")
    hours = f"{_latest('pqsearch_worker_seconds')} / 3600"
    yield _Panel("Worker hours", ((hours, "{{study}}"),), "pqsearch_worker_seconds", "h", "stat")
    yield _Panel(
        "Evaluations", ((done, "{{study}} done"), (planned, "{{study}} planned")), "pqsearch_evaluations"
    )  # fmt: skip
    yield _one("Evaluations a second", "pqsearch_evaluations_per_second", "ops")
    yield _one("Best score", "pqsearch_best_score")
    yield _one("Busy share of the workers", "pqsearch_busy_ratio", "percentunit")
    yield _one("Workers", "pqsearch_workers")
    yield _Panel(
        "Running and waiting",
        ((_latest("pqsearch_running"), "{{study}} running"), (_latest("pqsearch_queue"), "{{study}} waiting")),
        "pqsearch_queue",
    )
    yield _one("Measured at each rung", "pqsearch_measured")
    yield _one("Promoted from each rung", "pqsearch_promotions")
    yield _Panel(
        "Failed, halted, known before",
        (
            (_latest("pqsearch_failures"), "{{study}} failed"),
            (_latest("pqsearch_halted"), "{{study}} halted"),
            (_latest("pqsearch_cache_hits"), "{{study}} known before"),
        ),
        "pqsearch_failures",
    )
    yield _Panel(
        "$budget of the best plan",
        (
            (_latest("pqsearch_best_cost", chosen), "{{study}}"),
            # A cost without a limit has the one series only.
            (_latest("pqsearch_budget_limit", chosen), "{{study}} limit"),
        ),
        "pqsearch_best_cost",
        repeat="budget",
    )


def _laid_out() -> Iterator[dict[str, Any]]:
    """Panels from left to right, row by row; a row has panels of one size."""
    x = y = row = 0
    for number, panel in enumerate(_panels(), start=1):
        width, height = (NARROW, LOW) if panel.kind == "stat" else (WIDE, HIGH)
        if x + width > WIDTH or (row and height != row):
            x, y = 0, y + row
        yield _drawn(panel, number, {"x": x, "y": y, "w": width, "h": height})
        x, row = x + width, height


def _drawn(panel: _Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.unit == "percentunit":
        defaults |= {"min": 0.0, "max": 1.0}
    if panel.kind == "timeseries":
        defaults["custom"] = {"lineWidth": 2, "fillOpacity": 0, "showPoints": "auto"}
    options: dict[str, Any] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    if panel.kind == "stat":
        options = {
            "graphMode": "none", "colorMode": "value", "justifyMode": "auto", "textMode": "auto", "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "values": False, "fields": ""},
        }  # fmt: skip
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": METRICS[panel.metric].meaning,
        "transparent": False,
        "datasource": SOURCE,
        "gridPos": place,
        **({"repeat": panel.repeat} if panel.repeat else {}),
        "repeatDirection": "h",
        "transformations": [],
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for place, (query, legend) in enumerate(panel.queries)
        ],
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
