"""Processes of one machine meet where nobody else can reach them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import psutil
import torch
import torch.distributed as dist

from pqsearch.meeting import loopback
from tests.trainers.gang import gang


def _together() -> tuple[float, list[str]]:
    value = torch.ones(1)
    dist.all_reduce(value)
    found = psutil.Process().net_connections("inet")
    return float(value), [one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN]


def test_who_meets_by_a_file_listens_on_loopback_only(tmp_path: Path) -> None:
    with gang(2, tmp_path) as pair:
        answers = pair.call(_together)
    assert [value for value, _ in answers] == [2.0, 2.0]
    addresses = [address for _, listening in answers for address in listening]
    assert addresses and all(ipaddress.ip_address(address).is_loopback for address in addresses)


def test_loopback_has_a_name_here() -> None:
    assert loopback() in psutil.net_if_addrs()
