"""Plain-text tables of the command line."""

from __future__ import annotations

import json

import pytest

from pqsearch import rooms
from pqsearch.tables import (
    budgets_table,
    candidates_line,
    candidates_table,
    correlation_table,
    layers_table,
    option_words,
    rooms_table,
    summary_table,
    text_table,
)
from pqsearch.worker_time import worker_time
from tests.pqsearch.report.made_up import candidates, correlation, model_info, summary


def test_words_stand_left_and_numbers_right() -> None:
    assert text_table(("name", "n", "why"), [("a", "1", "x"), ("bcdef", "200", "yy")]) == (
        "name     n  why\n"
        "a        1  x\n"
        "bcdef  200  yy"
    )  # fmt: skip


def test_a_table_without_rows_is_its_head() -> None:
    assert text_table(("a", "bc"), []) == "a  bc"


def test_layers_show_channels_share_of_macs_and_group_or_the_reason() -> None:
    lines = layers_table(model_info()).splitlines()
    assert lines[0].split() == ["layer", "kind", "channels", "MACs", "outputs"]
    assert lines[2].split() == ["body.conv2", "conv", "8->16", "93.9%", "group", "body.conv2"]
    assert lines[3].endswith("0.2%  not pruned: its channels are the model's outputs")


def test_shares_of_macs_add_up_to_all() -> None:
    shares = [float(word[:-1]) for word in layers_table(model_info()).split() if word.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_budgets_show_limit_reach_and_unit() -> None:
    lines = budgets_table({"flops": (0.1234567, 1.0), "weight_bits": (2.1, 8.0)}, {"flops": 0.5, "weight_bits": 4})
    assert lines.splitlines()[1].split(maxsplit=4) == [
        "budgets.flops",
        "0.5",
        "0.1235",
        "1",
        "share of the float baseline",
    ]
    assert lines.splitlines()[2].split() == ["budgets.weight_bits", "4", "2.1", "8", "bits"]
    assert budgets_table({}, {}).startswith("budgets  none")


def test_the_summary_shows_every_role_with_its_error_and_ends_in_the_verdict() -> None:
    lines = summary_table(summary()).splitlines()
    assert lines[0].startswith("n=1000 ")
    roles = [line.split()[0] for line in lines[1:6]]
    assert roles == ["baseline", "baseline_finetuned", "searched", "uniform", "uniform_filled"]
    assert "94.00 ± 0.75" in lines[3]
    assert lines[3].split()[-5:] == ["0.50", "40.0", "3.90", "4.00", "20.0"]
    assert lines[-1] == "Ship the searched plan."


def test_roles_that_a_run_does_not_have_are_left_out() -> None:
    gone = dict.fromkeys(("searched", "uniform", "uniform_filled", "baseline_finetuned", "correlation"))
    text = summary_table(summary(**gone))
    assert text.count("\n") == 2


def test_a_candidate_is_one_line_of_json_with_the_promised_keys() -> None:
    for row in candidates():
        line = candidates_line(row)
        assert "\n" not in line
        found = json.loads(line)
        assert {
            "id", "genes", "plan_hash", "state", "rung", "values", "costs", "worker", "seconds", "times_evaluated",
        } <= found.keys()  # fmt: skip
        assert found == {key: row[key] for key in found}
        assert "plan" not in found, "plans are long and `plan_hash` names them"


def test_candidates_for_reading_say_why_one_has_no_score() -> None:
    lines = candidates_table(candidates()).splitlines()
    assert len(lines) == 13
    assert lines[1].endswith("uniform") and "0.8000" in lines[1]
    assert lines[11].endswith("the loss became nan")
    assert lines[12].endswith("same plan as 4")


def test_all_rooms_fit_one_table() -> None:
    text = rooms_table()
    for room in rooms.ROOMS:
        assert any(line.startswith(f"{room} ") and rooms.names(room)[0] in line for line in text.splitlines())


def test_a_room_shows_options_with_type_range_default_and_meaning() -> None:
    text = rooms_table("algorithms")
    assert "genetic: " in text
    assert "    population (int from 2 to " in text


def test_an_option_is_told_by_what_it_takes() -> None:
    ranged = rooms.Option("rate", "float", 0.5, False, "How much.", 0.0, 1.0)
    assert option_words(ranged) == "rate (float from 0 to 1, default 0.5) How much."
    chosen = rooms.Option("norm", "Literal['l1', 'l2']", "l1", False, choices=("l1", "l2"))
    assert option_words(chosen) == "norm (one of 'l1', 'l2', default \"l1\")"
    needed = rooms.Option("path", "str", None, True, "Where.")
    assert option_words(needed) == "path (str, required) Where."
    left_out = rooms.Option("size", "int | None", None, False)
    assert option_words(left_out) == "size (int | None, default not given)"


def test_the_summary_says_how_far_cheap_scores_can_be_trusted_and_what_workers_did() -> None:
    lines = summary_table(summary(worker_hours=worker_time(3600.0, 0.0, 2.0))).splitlines()
    assert lines[6].startswith("1.00 worker hours, which cost 2.00 at 2 each")
    assert lines[7].startswith("Rung 1 with rung 2: Kendall τ 1.00")
    assert lines[8].startswith("Proxy with full fine-tune: not measured, since")


def test_plans_that_were_fully_fine_tuned_stand_in_the_order_of_their_proxy_score() -> None:
    lines = correlation_table(correlation(9, failed=1)).splitlines()
    assert lines[1].split() == ["0", "0.3000", "0.9000", "0.9500", "±", "0.0200", "0.9400", "±", "0.0080"]
    assert lines[9].endswith("uniform")
    assert lines[10] == "candidate 90 failed: finetune.lr: nan"
    assert lines[11].startswith("Proxy with full fine-tune, Kendall τ over 9 plans")
