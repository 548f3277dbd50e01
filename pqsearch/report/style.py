"""The look of the page: system fonts, light and dark, narrow screens."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5d6675; --line: #d9dee7; --paper: #ffffff; --card: #f5f7fa; --mark: #3b6fd4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #9aa4b2; --line: #343c49; --paper: #14181f; --card: #1c222c; --mark: #7ea4ef; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 80px; }
h1 { font-size: 1.7rem; margin: 0 0 4px; } h2 { font-size: 1.15rem; margin: 44px 0 10px; }
p { margin: 8px 0; } .soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 20px 0; }
.card { background: var(--card); border-radius: 10px; padding: 14px 16px; }
.card b { display: block; white-space: nowrap; font-size: 1.45rem; font-weight: 600; } .card span { color: var(--soft); font-size: .9rem; }
.verdict { border-left: 4px solid var(--mark); background: var(--card); padding: 14px 18px; border-radius: 0 10px 10px 0; }
.warning { border-left: 4px solid #e07b39; background: var(--card); padding: 10px 18px; border-radius: 0 10px 10px 0; margin: 12px 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
th.words, td.words { text-align: left; white-space: normal; min-width: 220px; } tr.chosen td { font-weight: 600; }
pre { background: var(--card); padding: 16px; border-radius: 10px; overflow-x: auto; font-size: .85rem; }
.slider { margin: 14px 0; } .slider input { width: 100%; accent-color: var(--mark); }
.slider label span, .slider p b + span { display: inline; margin-left: 10px; }
.card.slider b { display: inline; font-size: 1.05rem; } .slider code { overflow-wrap: anywhere; user-select: all; }
.strips { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 14px; } .strips figure { margin: 0; }
.strips figcaption { color: var(--soft); font-size: .85rem; }
.strip { display: flex; align-items: flex-end; gap: 2px; height: 48px; border-bottom: 1px solid var(--line); }
.strip i { flex: 1; background: var(--mark); min-height: 1px; }
button.copy { font: inherit; font-size: .85rem; color: var(--ink); background: none; border: 1px solid var(--line);
  border-radius: 6px; padding: 2px 10px; cursor: pointer; }
details summary { cursor: pointer; color: var(--soft); }
"""
