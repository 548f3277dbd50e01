"""One self-contained HTML page: no network, light and dark, readable on a phone."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from pqsearch import rooms
from pqsearch.report import figures, grids, knob_maps
from pqsearch.report.correlation_words import final_sentences, rung_sentences
from pqsearch.report.slider import sliders
from pqsearch.report.style import STYLE
from pqsearch.report.verdict import reached
from pqsearch.worker_words import worker_sentences

ROLES = {
    "baseline": "float baseline",
    "baseline_finetuned": "float baseline, same extra training",
    "searched": "searched plan",
    "fixed_point": "searched plan, in fixed point",
    "uniform": "uniform plan",
    "uniform_filled": "uniform plan, slack filled",
}
#: Why a search ended, in the words of its journal and in a reader's.
ENDS = {
    "evaluations": "all evaluations that were asked for are done",
    "hours": "its hours were over",
    "patience": "nothing better had come for as many plans as study.patience allows",
    "target settled": "no plan worth the effort is expected to be smaller and still hold the target",
    "target infeasible": "no plan can hold the target",
    "algorithm finished": "the algorithm has no more to propose",
    "exhausted": "it proposed nothing new any more",
}


def render(
    summary: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    layers: Mapping[str, Any],
    plans: Mapping[str, Any],
    spec_text: str,
    sensitivity: Sequence[Mapping[str, Any]] = (),
    front: Mapping[str, Any] | None = None,
    forecast: Sequence[Mapping[str, Any]] = (),
    run_dir: str = "RUN_DIR",
    values: Mapping[str, Any] | None = None,
) -> str:
    """The page. `candidates` are a study's rows, `layers` a `ModelInfo` and `plans` plans by role, `sensitivity` the table of
    `Probing.table`, `front` the content of front.json, `forecast` the rows of `pqsearch.resolving.sweep`, `values` what
    `pqsearch.layer_values` makes, all as JSON values. Commands on the page name `run_dir`.
    """
    parts = [_head(summary), _verdict(summary), _results(summary), _differences(summary), _budgets(summary)]
    if any(row["state"] == "done" for row in candidates):
        parts += [
            _figure("How the search went", figures.convergence(candidates), _search_words(summary, candidates)),
            _figure(
                "Score against each cost", figures.score_against_costs(candidates, summary["budgets"]),
                "Every candidate is under every budget (dashed lines); repair also uses the budgets up.",
            ) if summary["budgets"] else "",
            _rungs(summary, candidates),
            _final(summary, run_dir),
        ]  # fmt: skip
    if front is not None and front["plans"]:
        parts.append(_figure("What can be had for what", figures.front(candidates, front), _front_words(front)))
    parts.append(sliders(forecast, summary["budgets"], run_dir, summary.get("evaluations", 0)))
    if plans:
        parts.append(_figure("The plan, layer by layer", figures.layers(layers, plans), ""))
    parts += [_figure(*section) for section in grids.sections(values or {})]
    if sensitivity:
        parts.append(
            _figure("What each layer can bear", knob_maps.sensitivity(sensitivity), _sensitivity_words(summary))
        )
    parts += [_layers(layers), _spec(spec_text), _provenance(summary)]
    body = "\n".join(part for part in parts if part)
    title = html.escape(f"pqsearch: {summary['name']}")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(summary: Mapping[str, Any]) -> str:
    limits = [f"{name} ≤ {limit:g}" for name, limit in summary["budgets"].items()]
    if target := summary.get("target"):
        limits.append(f"the least {target['minimize']} at a drop ≤ {target['max_drop']:g} points")
    asked = ", ".join(limits) or "no budget"
    cards = []
    base, found = summary["baseline"], summary.get("searched")
    if found:
        cards = [
            (_percent(found), "test accuracy of the searched plan"),
            (f"{found['macs'] / base['macs']:.0%}", f"of the MACs: {_count(found['macs'])} of {_count(base['macs'])}"),
            (f"{found['mean_weight_bits']:.2f} / {found['mean_act_bits']:.2f}", "mean bits of weights / activations"),
            (f"{base['size_bytes'] / found['size_bytes']:.1f}×", f"smaller: {_bytes(found['size_bytes'])}"),
        ]
    rows = "".join(f'<div class="card"><b>{html.escape(a)}</b><span>{html.escape(b)}</span></div>' for a, b in cards)
    warnings = "".join(f'<p class="warning">{html.escape(text)}</p>' for text in summary.get("warnings", []))
    return (
        f"<h1>{html.escape(summary['name'])}</h1><p class=soft>Asked for: {html.escape(asked)}. "
        f"{summary.get('evaluations', 0)} plans evaluated, seed {summary['seed']}.</p>"
        f'<div class="cards">{rows}</div>{warnings}'
    )


def _verdict(summary: Mapping[str, Any]) -> str:
    return f'<h2>Verdict</h2><p class="verdict">{html.escape(summary.get("verdict") or "Nothing to say yet.")}</p>'


def _results(summary: Mapping[str, Any]) -> str:
    heads = ("", "test accuracy", "select accuracy", "MACs", "parameters", "weight bits", "act bits", "size")
    rows = []
    for role, words in ROLES.items():
        found = summary.get(role)
        if not found:
            continue
        cells = (
            words, _percent(found), f"{found['select_accuracy']:.2%}", _count(found["macs"]), _count(found["params"]),
            f"{found['mean_weight_bits']:.2f}", f"{found['mean_act_bits']:.2f}", _bytes(found["size_bytes"]),
        )  # fmt: skip
        rows.append((cells, "chosen" if role == "searched" else ""))
    images = summary["baseline"]["test_images"]
    note = (
        f"Test accuracy with its standard error over n = {images} test images, each network tested once. The select accuracy "
        "is that of the training slice that chose the checkpoint. MACs are multiply-accumulates of convolution and linear "
        "layers for one image (FLOPs are twice that). Size: packed weights, step sizes, biases and batch norm. Weight steps "
        f"are {'per channel' if summary.get('quantizer', {}).get('per_channel', True) else 'per tensor'}, activation steps per tensor."
    )
    if metric := summary.get("task", {}).get("metric"):
        note = f"Accuracy is everywhere the mean score of {metric} over images. {note}"
    return f"<h2>Results</h2>{_table(heads, rows)}<p class=soft>{html.escape(note)}</p>"


def _differences(summary: Mapping[str, Any]) -> str:
    wanted = [
        (name, found)
        for name, found in (summary.get("differences") or {}).items()
        if name.startswith(("searched", "fixed_point", "uniform"))
    ]
    if not wanted:
        return ""
    rows = [
        (
            (_spoken(name), f"{100 * found['value']:+.2f} ± {100 * found['standard_error']:.2f}", str(found["images"])),
            "",
        )
        for name, found in wanted
    ]
    table = _table(("difference in test accuracy", "points (paired standard error)", "images"), rows)
    return f"<h2>Differences</h2>{table}"


def _budgets(summary: Mapping[str, Any]) -> str:
    roles = [role for role in ("searched", "uniform", "uniform_filled") if summary.get(role)]
    if not summary["budgets"] or not roles:
        return ""
    rows = []
    for name, limit in summary["budgets"].items():
        values = [reached(summary[role], name) for role in roles]
        cells = ["not measured" if value is None else f"{value:.4g}" for value in values]
        unit = rooms.constants("budgets", name)["UNIT"] if name in rooms.names("budgets") else ""
        rows.append(((name, f"{limit:g}", *cells, unit), ""))
    heads = ("budget", "limit", *(ROLES[role] for role in roles), "unit")
    return (
        f"<h2>Budgets</h2>{_table(heads, rows)}<p class=soft>As measured on the rebuilt modules.{_latency(summary)}</p>"
    )


def _latency(summary: Mapping[str, Any]) -> str:
    if "latency_ms" not in summary["budgets"] or summary["baseline"].get("latency_ms") is None:
        return ""
    return (
        " But latency_ms is the sum of its layers in the table of measurements, by which the float baseline takes "
        f"{summary['baseline']['latency_ms']:.4g} ms."
    )


def _spoken(name: str) -> str:
    return " − ".join(ROLES[role] for role in name.split(" - "))


def _search_words(summary: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> str:
    images = next(row["images"] for row in candidates if row["state"] == "done")
    failed = f" {summary['failed']} failed." if summary.get("failed") else ""
    halted = f" {summary['halted']} stopped at an early rung." if summary.get("halted") else ""
    lost = _recomputed(summary.get("recomputed", 0))
    again = sum(len(row.get("repeats") or ()) > 1 for row in candidates)
    return (
        f"Proxy accuracies are measured on {images} training images that nothing trains on.{failed}{halted}{lost} "
        f"{again} {'plan was' if again == 1 else 'plans were'} measured again with fresh seeds.{_end(summary)}"
    )


def _recomputed(number: int) -> str:
    if not number:
        return ""
    rungs, their = ("rung was", "its") if number == 1 else ("rungs were", "their")
    return f" {number} {rungs} climbed once more, and counted once, because {their} weights were gone."


def _sensitivity_words(summary: Mapping[str, Any]) -> str:
    how = {
        "gradients": "Expected from the gradients of the float network on a few training images, to second order.",
        "table": "Measured on the scoring slice after calibration, without training.",
    }[summary["sensitivity"]]
    return (
        f"What one change alone costs in loss, all else at its dearest: darker is worse, by a logarithm. {how} "
        "An integer program turned the table into plans that stood in the first population (sensitivity plan)."
    )


def _front_words(front: Mapping[str, Any]) -> str:
    last = front["hypervolume"][-1]["volume"]
    reference = ", ".join(f"{value:.4g}" for value in front["reference"])
    return (
        f"{len(front['plans'])} plans are bettered by no other in all of {', '.join(front['objectives'])}; hover to see one. "
        f"Hypervolume {last:.4g} against the worst of each objective, ({reference}), errors for accuracies. "
        "pqsearch select picks from all evaluated plans under budgets of your own."
    )


def _end(summary: Mapping[str, Any]) -> str:
    reason = summary.get("stopped")
    return f" The search ended: {ENDS.get(reason, reason)}." if reason else ""


def _rungs(summary: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> str:
    found = summary.get("correlation", {}).get("rungs")
    if not found:
        return ""
    words = "Accuracy of each plan at a rung against the next, of all that did both. " + " ".join(rung_sentences(found))
    return _figure("What a cheap rung says of the next", figures.rungs(candidates, len(found) + 1), words)


def _final(summary: Mapping[str, Any], run_dir: str) -> str:
    found = summary.get("correlation", {}).get("final")
    title, words = "What the proxy says of the full fine-tune", " ".join(final_sentences(found, run_dir))
    if found is None or not found["plans"]:
        return f"<h2>{html.escape(title)}</h2><p class=soft>{html.escape(words)}</p>"
    return _figure(title, figures.finals(found), f"The better the proxy's score, the further to the right. {words}")


def _layers(info: Mapping[str, Any]) -> str:
    macs = [_layer_macs(layer) for layer in info["layers"]]
    rows = []
    for layer, mine in zip(info["layers"], macs, strict=True):
        group = info["groups"][layer["output"]] if layer["output"] >= 0 else None
        words = "" if group is None else (group["name"] if group["prunable"] else f"not pruned: {group['reason']}")
        shape = f"{layer['in_channels']} → {layer['out_channels']}"
        rows.append(((layer["name"], layer["kind"], shape, f"{mine / sum(macs):.1%}", words), ""))
    table = _table(("layer", "kind", "channels", "MACs", "group of its outputs"), rows, words=4)
    return f"<h2>Layers</h2><details><summary>{len(rows)} layers in {len(info['groups'])} groups</summary>{table}</details>"


def _layer_macs(layer: Mapping[str, Any]) -> int:
    return layer["out_size"] * layer["kernel_size"] * layer["out_channels"] * layer["in_channels"] // layer["groups"]


def _spec(text: str) -> str:
    return f"<h2>Spec</h2><details><summary>as it was run</summary><pre>{html.escape(text)}</pre></details>"


def _provenance(summary: Mapping[str, Any]) -> str:
    rows = [((stage, f"{seconds:.1f} s"), "") for stage, seconds in summary.get("seconds", {}).items()]
    rows += [((name, str(value)), "") for name, value in summary.get("hardware", {}).items()]
    rows += [((name, str(value)), "") for name, value in summary.get("versions", {}).items()]
    spent = " ".join(worker_sentences(summary["worker_hours"])) if summary.get("worker_hours") else ""
    used = f"<p class=soft>{html.escape(spent)}</p>" if spent else ""
    return f"<h2>Where it was made</h2>{used}<details><summary>seconds, hardware, versions</summary>{_table(('', ''), rows)}</details>"


def _figure(title: str, figure: go.Figure, words: str) -> str:
    chart = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
    )
    note = f"<p class=soft>{html.escape(words)}</p>" if words else ""
    return f"<h2>{html.escape(title)}</h2>{chart}{note}"


def _table(heads: Sequence[str], rows: Sequence[tuple[Sequence[str], str]], words: int | None = None) -> str:
    head = "".join(
        f'<th class="words">{html.escape(text)}</th>' if index == words else f"<th>{html.escape(text)}</th>"
        for index, text in enumerate(heads)
    )
    lines = []
    for cells, kind in rows:
        tags = "".join(
            f'<td class="words">{html.escape(text)}</td>' if index == words else f"<td>{html.escape(text)}</td>"
            for index, text in enumerate(cells)
        )
        lines.append(f'<tr class="{kind}">{tags}</tr>')
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _percent(found: Mapping[str, Any]) -> str:
    top = f", top-5 {100 * found['test_top5_accuracy']:.2f} %" if "test_top5_accuracy" in found else ""
    return f"{100 * found['test_accuracy']:.2f} ± {100 * found['test_standard_error']:.2f} %{top}"


def _count(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f}"


def _bytes(value: float) -> str:
    for limit, unit in ((2**20, "MiB"), (2**10, "KiB")):
        if value >= limit:
            return f"{value / limit:.4g} {unit}"
    return f"{value:.0f} B"
