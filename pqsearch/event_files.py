"""A study's candidates as TensorBoard's event files, one run each: knobs are hyperparameters, scores and costs their metrics.

Tune's own event files are of its trials, which are workers. Files are only ever added here: TensorBoard may be reading.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Value
from tensorboardX.proto.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.record_writer import RecordWriter

from pqsearch.study_fold import ENDED, Candidate
from pqsearch.study_state import StudyState

#: What TensorBoard's plugin looks for.
PLUGIN, EXPERIMENT, START, END = (
    "hparams",
    "_hparams_/experiment",
    "_hparams_/session_start_info",
    "_hparams_/session_end_info",
)
#: The hyperparameter that tells seeds from what the algorithm proposed, and the word for the latter.
ROLE, SEARCHED = "role", "searched"


@dataclass
class _Written:
    """How much of a candidate is in its files."""

    files: int = 0
    measurements: int = 0
    ended: bool = False


class EventFiles:
    """Follows a study into `folder`, which may be moved meanwhile. Of more than `most` candidates the leading ones are there."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self._most = folder, most
        self._written: dict[int, _Written] = {}
        self._described = False

    def follow(self, state: StudyState) -> int:
        """Write what is new, and remove those that lead no more; returns how many candidates are in the folder."""
        if not self._described and state.by_id:
            _write(self.folder / _file(0), [_experiment(state)])
            self._described = True
        shown = self._shown(state)
        for id in self._written.keys() - set(shown):
            shutil.rmtree(self.folder / run_of(id))
            del self._written[id]
        for id in shown:
            self._add(state, state.by_id[id])
        return len(shown)

    def _shown(self, state: StudyState) -> list[int]:
        ended = [candidate.id for candidate in state.by_id.values() if candidate.state in ENDED]
        if len(ended) <= self._most:
            return ended
        # Copies of a candidate are not measured themselves; whoever never reached the last rung has no rank.
        leading = [row["id"] for row in state.leading(self._most)]
        known = set(leading)
        return (leading + [id for id in ended if id not in known])[: self._most]

    def _add(self, state: StudyState, candidate: Candidate) -> None:
        before = self._written.get(candidate.id, _Written())
        over = (candidate.id, 0) not in state.paused
        if before.files and before.measurements == len(candidate.measurements) and before.ended == over:
            return
        events = [] if before.files else [*_start(state, candidate)]
        events += _measured(candidate, before.measurements)
        if over and not before.ended:
            events.append(_end(candidate))
        folder = self.folder / run_of(candidate.id)
        folder.mkdir(exist_ok=True)
        _write(folder / _file(before.files), events)
        self._written[candidate.id] = _Written(before.files + 1, len(candidate.measurements), before.ended or over)


def run_of(id: int) -> str:
    """What a candidate's run is called; names sort as candidates do."""
    return f"plan-{id:06d}"


def _file(number: int) -> str:
    """TensorBoard reads a run's files in the order of their names."""
    return f"events.out.tfevents.{number:010d}.pqsearch"


def _write(path: Path, events: Sequence[Event]) -> None:
    """TensorBoard sees a file whole or not at all."""
    half = path.with_name(f".{path.name}")
    writer = RecordWriter(str(half))
    for event in (Event(wall_time=events[0].wall_time, file_version="brain.Event:2"), *events):
        writer.write(event.SerializeToString())
    writer.close()
    half.replace(path)


def _experiment(state: StudyState) -> Event:
    """Which hyperparameters and metrics have a column: of the knobs those that may vary."""
    numbers = [
        HParamInfo(name=name, type=DataType.Value("DATA_TYPE_FLOAT64"), domain_discrete=_levels(values))
        for name, values in _knobs(state)
        if len(values) > 1
    ]
    role = HParamInfo(name=ROLE, type=DataType.Value("DATA_TYPE_STRING"))
    costs = next(iter(state.by_id.values())).costs
    rungs = [f"rung_{rung}/{what}" for rung in range(state.settings["rungs"]) for what in ("loss", "accuracy")]
    tags = ["loss", "accuracy", *(f"cost/{name}" for name in costs), *rungs, "seconds"]
    metrics = [MetricInfo(name=MetricName(tag=tag), display_name=tag) for tag in tags]
    first = next(iter(state.by_id.values())).began
    experiment = Experiment(hparam_infos=[role, *numbers], metric_infos=metrics, time_created_secs=first)
    return _plugin_event(EXPERIMENT, HParamsPluginData(experiment=experiment), first)


def _levels(values: Sequence[float]) -> ListValue:
    return ListValue(values=[Value(number_value=value) for value in values])


def _knobs(state: StudyState) -> list[tuple[str, Sequence[float]]]:
    return [(f"{row.kind}/{row.name}", row.values) for row in state.table.rows]


def _start(state: StudyState, candidate: Candidate) -> Iterator[Event]:
    info = SessionStartInfo(group_name=run_of(candidate.id), start_time_secs=candidate.began)
    info.hparams[ROLE].string_value = candidate.role or SEARCHED
    for (name, values), level in zip(_knobs(state), candidate.genes, strict=True):
        info.hparams[name].number_value = values[level]
    yield _plugin_event(START, HParamsPluginData(session_start_info=info), candidate.began)
    yield _scalars({f"cost/{name}": cost for name, cost in candidate.costs.items()}, 0, candidate.began)


def _measured(candidate: Candidate, before: int) -> Iterator[Event]:
    """One step a measurement: what the candidate was worth by then, which is the mean at its highest rung."""
    for step in range(before, len(candidate.measurements)):
        known = candidate.measurements[: step + 1]
        rung, top = known[-1]["rung"], max(entry["rung"] for entry in known)
        values = {
            **_means(known, top, ""),
            **_means(known, rung, f"rung_{rung}/"),
            "seconds": sum(sum(entry["seconds"].values()) for entry in known),
        }
        yield _scalars(values, step, candidate.ended)


def _means(measurements: Sequence[Mapping[str, Any]], rung: int, prefix: str) -> dict[str, float]:
    there = [entry for entry in measurements if entry["rung"] == rung]
    return {prefix + what: statistics.fmean(entry[what] for entry in there) for what in ("loss", "accuracy")}


def _end(candidate: Candidate) -> Event:
    status = Status.Value("STATUS_FAILURE" if candidate.state == "failed" else "STATUS_SUCCESS")
    info = SessionEndInfo(status=status, end_time_secs=candidate.ended)
    return _plugin_event(END, HParamsPluginData(session_end_info=info), candidate.ended)


def _scalars(values: Mapping[str, float], step: int, time: float) -> Event:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
    return Event(wall_time=time, step=step, summary=summary)


def _plugin_event(tag: str, content: HParamsPluginData, time: float) -> Event:
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN, content=content.SerializeToString())
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))
    return Event(wall_time=time, summary=Summary(value=[value]))
