"""A slider for each budget: what may be had under another limit, by forecast, and the command that confirms it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

#: What the strips under a slider show of a plan: heading, where it stands, knob, the value that fills a bar.
STRIPS = (
    ("channels removed", "groups", "prune_rate", 1.0),
    ("weight bits", "layers", "weight_bits", 8.0),
    ("activation bits", "layers", "act_bits", 8.0),
    ("zero weights", "layers", "sparsity", 1.0),
)

_SCRIPT = """
(function () {
  const rows = JSON.parse(document.getElementById("forecast").textContent);
  const strips = JSON.parse(document.getElementById("forecast-strips").textContent);
  const percent = (value) => (100 * value).toFixed(1) + " %";
  for (const block of document.querySelectorAll(".slider")) {
    const mine = rows.filter((row) => row.budget === block.dataset.budget);
    const input = block.querySelector("input"), part = (name) => block.querySelector("." + name);
    const show = () => {
      const row = mine[input.value];
      part("limit").textContent = row.limit;
      part("expected").textContent = percent(row.accuracy) + " (" + percent(row.low) + " to " + percent(row.high) + ")";
      part("costs").textContent = Object.keys(row.shown).map((name) => name + " " + row.shown[name]).join(", ");
      part("command").textContent = row.command;
      for (const [title, section, knob, full] of strips) {
        const strip = block.querySelector('[data-knob="' + knob + '"]');
        strip.replaceChildren(...Object.entries(row.plan[section]).map(([name, knobs]) => {
          const bar = document.createElement("i");
          const value = knobs[knob] ?? 0;  // a plan names no sparsity where there is none
          bar.style.height = Math.min(100, Math.round(100 * value / full)) + "%";
          bar.title = name + ": " + (full === 1 ? percent(value) : value);
          return bar;
        }));
      }
    };
    input.addEventListener("input", show);
    part("copy").addEventListener("click", () => {
      // Pages opened from a disk may not write to the clipboard: there the text is selected.
      const range = document.createRange();
      range.selectNodeContents(part("command"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (navigator.clipboard) navigator.clipboard.writeText(part("command").textContent).catch(() => {});
    });
    show();
  }
})();
"""


def sliders(rows: Sequence[Mapping[str, Any]], budgets: Mapping[str, float], run_dir: str, evaluations: int) -> str:
    """The section, as HTML; empty without rows. `rows` are those of `pqsearch.resolving.sweep`, `run_dir` stands in the command."""
    sparse = any(layer.get("sparsity") for row in rows for layer in row["plan"]["layers"].values())
    strips = [strip for strip in STRIPS if sparse or strip[2] != "sparsity"]
    blocks = []
    for budget, limit in budgets.items():
        mine = [row for row in rows if row["budget"] == budget]
        if len(mine) > 1:
            nearest = min(range(len(mine)), key=lambda index: abs(mine[index]["limit"] - limit))
            blocks.append(_block(budget, limit, len(mine), nearest, strips))
    if not blocks:
        return ""
    shown = [
        {
            **{key: row[key] for key in ("budget", "limit", "accuracy", "low", "high", "plan")},
            "shown": {name: f"{row['costs'][name]:.4g}" for name in budgets},
            "command": f"pqsearch resolve {run_dir} --budget {row['budget']}={row['limit']:g}",
        }
        for row in rows
    ]
    note = (
        f"Move one limit, the others stay. What is shown is expected of the short proxy fine-tune, not measured: a surrogate "
        f"fitted to {evaluations} evaluated plans and an integer program over it; the interval holds 95 % if the surrogate is "
        "right, and widens away from what was searched. The command solves again and measures the plan."
    )
    return (
        f"<h2>Under other budgets</h2><p class=soft>{html.escape(note)}</p>{''.join(blocks)}"
        f"{_data('forecast', shown)}{_data('forecast-strips', strips)}<script>{_SCRIPT}</script>"
    )


def _block(budget: str, limit: float, count: int, start: int, shown: Sequence[tuple[str, str, str, float]]) -> str:
    name = html.escape(budget)
    strips = "".join(
        f'<figure><figcaption>{title}</figcaption><div class="strip" data-knob="{knob}"></div></figure>'
        for title, _, knob, _ in shown
    )
    return (
        f'<div class="slider card" data-budget="{name}"><label>{name} ≤ <b class="limit"></b> '
        f'<span>(searched: {limit:g})</span><input type="range" min="0" max="{count - 1}" value="{start}"></label>'
        '<p aria-live="polite">expected accuracy <b class="expected"></b><span class="costs"></span></p>'
        f'<div class="strips">{strips}</div>'
        '<p><code class="command"></code> <button type="button" class="copy">copy</button></p></div>'
    )


def _data(id: str, value: Any) -> str:
    """JSON inside a page: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{id}">{text}</script>'
