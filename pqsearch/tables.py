"""Plain-text tables of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pqsearch import rooms
from pqsearch.plan import Accuracy, ModelInfo
from pqsearch.report.correlation_words import final_sentences, rung_sentences
from pqsearch.worker_words import worker_sentences

CANDIDATE_KEYS = (
    "id", "kind", "genes", "plan_hash", "state", "rung", "values", "costs", "worker", "seconds", "times_evaluated",
    "accuracy", "images", "role", "failure", "repeats", "same_as",
)  # fmt: skip
ROLES = ("baseline", "baseline_finetuned", "searched", "fixed_point", "uniform", "uniform_filled")


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.ljust(width) if column == 0 or not _numeric(rows, column) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(heads), *map(line, rows)])


def _numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    return all(not row[column] or row[column][0] in "0123456789+-−" for row in rows)


def layers_table(info: ModelInfo) -> str:
    """Every layer with its share of the MACs and the group of its outputs, or why that is never pruned."""
    macs = [
        layer.out_size * layer.kernel_size * layer.out_channels * layer.in_channels // layer.groups
        for layer in info.layers
    ]
    rows = []
    for layer, mine in zip(info.layers, macs, strict=True):
        group = info.groups[layer.output] if layer.output >= 0 else None
        words = "" if group is None else (f"group {group.name}" if group.prunable else f"not pruned: {group.reason}")
        channels = f"{layer.in_channels}->{layer.out_channels}"
        rows.append((layer.name, layer.kind, channels, f"{100 * mine / sum(macs):.1f}%", words))
    return text_table(("layer", "kind", "channels", "MACs", "outputs"), rows)


def budgets_table(reach: Mapping[str, tuple[float, float]], limits: Mapping[str, float]) -> str:
    """Each budget's limit, and the smallest and largest value that plans can reach."""
    rows = [
        (f"budgets.{name}", f"{limits[name]:g}", f"{low:.4g}", f"{high:.4g}", rooms.constants("budgets", name)["UNIT"])
        for name, (low, high) in reach.items()
    ]
    return (
        text_table(("budget", "limit", "smallest", "largest", "unit"), rows)
        if rows
        else "budgets  none: the best plan is the dearest"
    )


def summary_table(summary: Mapping[str, Any]) -> str:
    """The results of a run, what it used, how far cheap scores can be trusted, and its verdict."""
    rows = []
    for role in ROLES:
        found = summary.get(role)
        if found:
            accuracy = f"{100 * found['test_accuracy']:.2f} ± {100 * found['test_standard_error']:.2f}"
            if "test_top5_accuracy" in found:
                accuracy += f", top-5 {100 * found['test_top5_accuracy']:.2f}"
            rows.append(
                (role, accuracy, f"{found['macs'] / 1e6:.2f}", f"{found['params'] / 1e3:.1f}",
                 f"{found['mean_weight_bits']:.2f}", f"{found['mean_act_bits']:.2f}", f"{found['size_bytes'] / 1024:.1f}")
            )  # fmt: skip
    heads = (
        f"n={summary['baseline']['test_images']}",
        "test accuracy %",
        "MMACs",
        "k params",
        "W bits",
        "A bits",
        "KiB",
    )
    correlation = summary.get("correlation")
    ranks = [*rung_sentences(correlation["rungs"]), *final_sentences(correlation["final"])] if correlation else []
    spent = worker_sentences(summary["worker_hours"])[:1] if summary.get("worker_hours") else []
    return "\n".join([text_table(heads, rows), *spent, *ranks, summary["verdict"]])


def candidates_line(candidate: Mapping[str, Any]) -> str:
    """One candidate as a line of JSON."""
    return json.dumps({key: candidate[key] for key in CANDIDATE_KEYS})


def candidates_table(candidates: Sequence[Mapping[str, Any]]) -> str:
    """Candidates for reading."""
    rows = []
    for row in candidates:
        accuracy = f"{row['accuracy']:.4f}" if row["accuracy"] is not None else ""
        note = row["failure"] or (f"same plan as {row['same_as']}" if row["same_as"] is not None else row["role"] or "")
        costs = " ".join(
            f"{name}={value:.4g}"
            for name, value in row["costs"].items()
            if name in ("flops", "weight_bits", "act_bits")
        )
        rows.append((str(row["id"]), row["state"], accuracy, f"{row['seconds']:.1f}", costs, note))
    return text_table(("id", "state", "accuracy", "seconds", "costs", "note"), rows)


def rooms_table(room: str | None = None) -> str:
    """What is in each room, or in one with all options."""
    if room is None:
        rows = [(name, ", ".join(rooms.names(name))) for name in rooms.ROOMS]
        return text_table(("room", "files"), rows) + "\n`pqsearch list ROOM` shows their options"
    lines = []
    for name in rooms.names(room):
        lines.append(f"{name}: {rooms.describe(room, name)}")
        lines += [f"    {option_words(option)}" for option in rooms.signature(room, name)]
    return "\n".join(lines)


def option_words(option: rooms.Option) -> str:
    """One option: name, type or choices, range, default, meaning."""
    kind = "one of " + ", ".join(map(repr, option.choices)) if option.choices else option.type
    span = f" from {option.low:g} to {option.high:g}" if option.low is not None else ""
    default = "required" if option.required else f"default {toml_value(option.default)}"
    return f"{option.name} ({kind}{span}, {default}) {option.doc}".rstrip()


def toml_value(value: Any) -> str:
    """A default as a spec would write it; nothing where a key is simply left out."""
    if value is None:
        return "not given"
    return json.dumps(value)


def resolved_table(found: Mapping[str, Any]) -> str:
    """What was expected of a plan under other budgets, and what was measured of it."""
    costs = "  ".join(f"{name} {found['costs'][name]:.4g} of {limit:g}" for name, limit in found["budgets"].items())
    lines = [
        f"costs     {costs}",
        f"expected  proxy accuracy {found['accuracy']:.3f}, {found['low']:.3f} to {found['high']:.3f} with 95 %, "
        f"by {found['evaluations']} evaluations",
    ]
    measured = found["measured"]
    if measured is not None:
        repeats = measured["repeats"]
        mean = sum(repeats) / len(repeats)
        error = Accuracy(mean, measured["images"], measured.get("deviation")).standard_error
        inside = found["low"] - 1.96 * error <= mean <= found["high"] + 1.96 * error
        lines += [
            f"measured  proxy accuracy {mean:.3f} ± {error:.3f}, {len(repeats)} times on {measured['images']} images: "
            + ("as expected" if inside else "not as expected: trust this, not the forecast"),
            f"next      pqsearch run {found['spec']} fine-tunes and exports it",
        ]
    return "\n".join(lines)


def correlation_table(found: Mapping[str, Any]) -> str:
    """Plans with their proxy score and what the full fine-tune made of them, best score first, and how far the two agree."""
    rows = [
        (
            str(row["id"]),
            f"{row['score']:.4f}",
            f"{row['proxy_accuracy']:.4f}",
            *(f"{row[f'{part}_accuracy']:.4f} ± {row[f'{part}_standard_error']:.4f}" for part in ("select", "test")),
            row["role"] or "",
        )
        for row in found["plans"]
    ]
    score = "error" if found["score"] == "accuracy" else found["score"]
    heads = ("id", f"proxy {score}", "proxy accuracy", "final, select", "final, test", "role")
    failed = [f"candidate {row['id']} failed: {row['reason']}" for row in found["failed"]]
    return "\n".join([text_table(heads, rows), *failed, *final_sentences(found)])


def repair_lines(answer: dict[str, Any]) -> list[str]:
    """What `repair` did, in words."""
    events, evaluations, damaged = answer["events"], answer["evaluations"], answer["damaged"]
    if damaged is None:
        return [f"{answer['journal']}: all {events['kept']} events are whole, there is nothing to repair"]
    end = events["kept"] + events["lost"]
    lines = [
        f"{answer['journal']}: line {damaged} is damaged",
        f"kept     lines 1 to {events['kept']}: {events['kept']} events, {evaluations['kept']} evaluations"
        if events["kept"]
        else "kept     nothing: the first line is damaged",
        f"lost     lines {damaged} to {end}: {events['lost']} events, {answer['unreadable']} of them unreadable; "
        f"{evaluations['lost']} evaluations in those that can be read"
        if events["lost"]
        else f"lost     what stood from line {damaged} on: it is gone",
    ]
    if "aside" in answer:
        return [*lines, f"damaged  {answer['aside']}", "the same command that made the run continues it"]
    return [*lines, f"saved    {answer['out']}", "`pqsearch repair RUN_DIR --in-place` puts it in the journal's place"]
