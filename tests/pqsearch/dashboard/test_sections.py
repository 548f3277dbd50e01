"""The page's figures of real studies."""

from __future__ import annotations

from pathlib import Path

from pqsearch.dashboard.sections import PLAN_COLOURS, Section, Sections, escaped
from pqsearch.dashboard.watched import Watched
from tests.pqsearch.dashboard.small_study import begin, search
from tests.pqsearch.report.made_up import correlation

PLANTED = "<script>window.planted = 1</script>"


def _made(folder: Path, layer: str = "body.conv1", **changes: object) -> tuple[Watched, dict[str, Section]]:
    run = begin(folder, layer, **changes)
    search(run, layer=layer, **changes)
    watched = Watched(run)
    watched.follow()
    return watched, {section.id: section for section in Sections(watched).make()}


def _drawn(section: Section) -> str:
    assert section.draw is not None
    return str(section.draw().to_json())


def test_a_search_has_every_figure_that_a_person_looks_for(tmp_path: Path) -> None:
    _, found = _made(tmp_path, study__evaluations=20)
    kinds = ("prune_rate", "weight_bits", "act_bits")
    assert list(found) == [
        "evaluations", "hours", *(f"cost-{name}" for name in ("flops", "weight_bits", "act_bits")), "plans",
        *(f"agreement-{kind}" for kind in kinds), "rungs", "workers", *(f"sensitivity-{kind}" for kind in kinds),
        "rank-0", "final",
    ]  # fmt: skip
    for section in found.values():
        assert section.draw is None or _drawn(section)
    layers = found["plans"].draw
    assert layers is not None and {trace.name for trace in layers().data} == set(PLAN_COLOURS)


def test_costs_that_are_objectives_have_a_front(tmp_path: Path) -> None:
    changes = {"study__objectives": ["loss", "flops"], "algorithm": {"name": "nsga2", "population": 4}}
    _, found = _made(tmp_path, **changes)
    assert found["front"].title == "Pareto front: loss, flops"
    assert '"front"' in _drawn(found["front"])


def test_a_figure_has_another_key_only_when_it_is_another(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=6)
    watched = Watched(run)
    watched.follow()
    makes = Sections(watched)
    before = {section.id: section.key for section in makes.make()}
    assert {section.id: section.key for section in makes.make()} == before
    search(run)
    watched.follow()
    after = {section.id: section.key for section in makes.make()}
    assert after["evaluations"] != before["evaluations"]
    assert after["sensitivity-act_bits"] == before["sensitivity-act_bits"]


def test_names_of_layers_are_escaped_in_every_figure(tmp_path: Path) -> None:
    _, found = _made(tmp_path, PLANTED)
    for section in found.values():
        if section.draw is not None:
            # Plotly's own JSON writes < as an escape: either would be a tag again.
            assert "<script" not in _drawn(section).replace("\\u003c", "<")
    assert "&lt;script" in _drawn(found["plans"]).replace("\\u0026", "&")


def test_full_fine_tunes_are_held_against_the_proxy_once_they_are_there(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    run.write(run.correlation, correlation(9))
    watched = Watched(run)
    watched.follow()
    found = {section.id: section for section in Sections(watched).make()}
    assert {"final-select", "final-test"} < set(found)
    assert found["final-test"].draw is not None


def test_texts_are_escaped_wherever_they_stand() -> None:
    assert escaped({"<a>": ["<b>", 1, None, {"c": "&"}]}) == {"&lt;a&gt;": ["&lt;b&gt;", 1, None, {"c": "&amp;"}]}
