"""The page stands alone, says everything and trusts no text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from pqsearch.report.page import render
from pqsearch.worker_time import worker_time
from tests.pqsearch.report.made_up import candidates, correlation, model_info, plan, summary

HOSTILE = "<script>alert('x')</script>"


class _Balance(HTMLParser):
    """Notes tags that close in the wrong order."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def _page(spec: str = "[study]\nname = 'x'", **changes: Any) -> str:
    plans = {"searched": plan(0.5, 3), "uniform": plan(), "uniform_filled": plan()}
    return render(summary(**changes), candidates(), model_info().to_json(), plans, spec)


def _body(page: str) -> str:
    """Without the styles and plotly's own source."""
    return page[page.index("<body>") :]


def _words(page: str) -> str:
    """What a reader sees, tags and scripts taken out."""
    text = re.sub(r"<script.*?</script>", " ", _body(page), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture(scope="module")
def page() -> str:
    return _page()


def test_the_page_needs_no_network_and_carries_plotly_once(page: str) -> None:
    assert page.count(get_plotlyjs()) == 1
    assert "Plotly.newPlot" in _body(page)
    for tag in ("src=", "<link", "@import", "<iframe"):
        assert tag not in _body(page)


def test_the_tags_of_the_page_are_balanced(page: str) -> None:
    checker = _Balance()
    checker.feed(page)
    assert (checker.open, checker.wrong) == ([], [])


def test_every_section_has_its_heading_in_reading_order(page: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Verdict", "Results", "Differences", "Budgets", "How the search went", "Score against each cost",
        "What a cheap rung says of the next", "What the proxy says of the full fine-tune",
        "The plan, layer by layer", "Layers", "Spec", "Where it was made",
    ]  # fmt: skip


def test_the_headline_says_what_was_asked_and_what_came_out(page: str) -> None:
    words = _words(page)
    assert "Asked for: flops ≤ 0.5, weight_bits ≤ 4, act_bits ≤ 4. 12 plans evaluated, seed 3." in words
    assert "50% of the MACs: 500 k of 1 M" in words
    assert "3.90 / 4.00 mean bits" in words
    assert "20.0× smaller: 20 KiB" in words


def test_every_accuracy_comes_with_its_error_and_its_images(page: str) -> None:
    words = _words(page)
    for text in ("95.00 ± 0.69 %", "95.50 ± 0.66 %", "94.00 ± 0.75 %", "90.00 ± 0.95 %", "91.00 ± 0.90 %"):
        assert text in words
    assert "n = 1000 test images" in words
    assert "measured on 300 training images" in words


def test_differences_have_paired_errors(page: str) -> None:
    assert "searched plan − uniform plan, slack filled +3.00 ± 0.50 1000" in _words(page)
    assert "searched plan − float baseline, same extra training -1.50 ± 0.50 1000" in _words(page)


def test_budgets_stand_beside_what_was_reached(page: str) -> None:
    assert "weight_bits 4 3.9 3.9 3.9 bits" in _words(page)
    assert "latency_ms 3 not measured" in _words(_page(budgets={"flops": 0.5, "latency_ms": 3.0}))


def test_layers_say_their_group_or_why_they_are_not_pruned(page: str) -> None:
    words = _words(page)
    assert "3 layers in 3 groups" in words
    assert "not pruned: its channels are the model's outputs" in words
    assert "body.conv2 conv 8 → 16 93.9% body.conv2" in words


def test_rank_correlation_and_the_end_of_the_search_are_told(page: str) -> None:
    words = _words(page)
    assert "Rung 1 with rung 2: Kendall τ 1.00 (95 % interval 0." in words
    assert (
        "Proxy with full fine-tune: not measured, since no plans spread over the scores are fully fine-tuned;" in words
    )
    assert "`pqsearch correlate RUN_DIR --plans 8` does that." in words
    assert "1 failed. 1 plan was measured again with fresh seeds." in words
    assert "The search ended: all evaluations that were asked for are done." in words


def test_the_proxy_is_compared_with_the_full_fine_tune_on_both_sets_of_images() -> None:
    rungs = summary()["correlation"]["rungs"]
    page = _page(correlation={"rungs": rungs, "final": correlation(9, failed=1)})
    words = _words(page)
    assert "Kendall τ over 9 plans spread over the scores" in words
    assert "With the final accuracy on the 1000 test images, which is reported and chooses nothing: 1.00" in words
    assert "1 plan failed in the full fine-tune and is not counted." in words
    assert "final, test (only reported)" in page
    few = _words(_page(correlation={"rungs": [], "final": correlation(3)}))
    assert few.count("not measured (3 plans, it needs 8)") == 2
    assert "What a cheap rung says of the next" not in few


def test_worker_hours_and_their_cost_stand_with_what_they_count() -> None:
    words = _words(_page(worker_hours=worker_time(3600.0, 1800.0, 1.2)))
    assert (
        "1.50 worker hours, which cost 1.80 at 1.2 each: 1.00 in evaluations, 0.50 in full fine-tunes. Counted is"
        in words
    )


def test_an_end_that_the_page_does_not_know_is_told_as_it_is() -> None:
    assert "The search ended: power cut." in _words(_page(stopped="power cut"))


def test_seconds_hardware_and_versions_are_there(page: str) -> None:
    words = _words(page)
    for text in ("search 120.5 s", "cores 2", "torch 2.14.1"):
        assert text in words


def test_weight_steps_are_told_per_channel_or_per_tensor(page: str) -> None:
    assert "Weight steps are per channel, activation steps per tensor." in _words(page)
    assert "Weight steps are per tensor" in _words(_page(quantizer={"name": "lsq", "per_channel": False}))


def test_warnings_are_shown() -> None:
    assert "The weights came from outside." in _words(_page(warnings=["The weights came from outside."]))


def test_no_text_of_the_run_becomes_markup() -> None:
    rows = candidates()
    rows[3]["failure"] = HOSTILE
    info = model_info(HOSTILE)
    made = summary(
        name=HOSTILE, warnings=[HOSTILE], verdict=HOSTILE, stopped=HOSTILE, versions={HOSTILE: HOSTILE},
        hardware={"machine": HOSTILE}, budgets={"flops": 0.5},
    )  # fmt: skip
    page = render(made, rows, info.to_json(), {"searched": plan(name=HOSTILE)}, HOSTILE)
    assert HOSTILE not in page
    assert html.escape(HOSTILE) in page
    checker = _Balance()
    checker.feed(page)
    assert (checker.open, checker.wrong) == ([], [])


def test_a_run_that_only_searched_has_a_page() -> None:
    gone = dict.fromkeys(("searched", "uniform", "uniform_filled", "baseline_finetuned", "differences", "verdict"))
    page = render(summary(**gone), candidates(), model_info().to_json(), {}, "")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert "How the search went" in headings
    assert not {"Differences", "Budgets", "The plan, layer by layer"} & set(headings)


def test_a_run_with_only_a_baseline_has_a_page() -> None:
    gone = dict.fromkeys(("searched", "uniform", "uniform_filled", "baseline_finetuned", "differences", "stopped"))
    words = _words(render(summary(**gone, budgets={}), [], model_info().to_json(), {}, ""))
    assert "Asked for: no budget." in words
    assert "95.00 ± 0.69 %" in words


def test_a_search_without_a_good_candidate_has_a_page() -> None:
    page = render(summary(), candidates()[-2:], model_info().to_json(), {}, "")
    assert "How the search went" not in page


def test_the_look_serves_dark_screens_and_phones(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
