from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pqsearch.plan import FIXED, Plan, channels_kept
from tests.trainers.nets import NETS, batch, make, random_plan
from trainers.coupling import Traced
from trainers.layers import trace
from trainers.prune import channel_scores, keep_indices, remove_channels


def _pruned(name: str, seed: int) -> tuple[nn.Module, nn.Module, Traced, Plan, tuple[int, ...]]:
    model, shape = make(name)
    traced = trace(model, shape)
    plan = random_plan(traced.info, seed)
    keep = keep_indices(traced, plan, channel_scores(model, traced, "l2"))
    return model, remove_channels(model, traced, keep), traced, plan, shape


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETS)
def test_a_randomly_pruned_network_runs_and_every_layer_has_the_planned_shape(name: str, seed: int) -> None:
    _, smaller, traced, plan, shape = _pruned(name, seed)
    assert smaller(batch(shape)).shape == (4, 5)
    kept = [channels_kept(group.channels, plan.prune_rate(group.name)) for group in traced.info.groups]
    modules = dict(smaller.named_modules())
    for layer in traced.info.layers:
        outputs = layer.out_channels if layer.output == FIXED else kept[layer.output]
        inputs = sum(
            source.repeat * (source.channels if source.group == FIXED else kept[source.group])
            for source in layer.inputs
        )
        module = modules[layer.name]
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        if isinstance(module, nn.Conv2d):
            assert (module.out_channels, module.in_channels) == (outputs, inputs)
            assert module.weight.shape[:2] == (outputs, inputs // module.groups)
        else:
            assert (module.out_features, module.in_features) == (outputs, inputs) == tuple(module.weight.shape)
    for norm in traced.info.norms:
        width = sum(source.channels if source.group == FIXED else kept[source.group] for source in norm.inputs)
        assert all(len(tensor) == width for tensor in modules[norm.name].parameters())


@pytest.mark.parametrize("name", NETS)
def test_a_pruned_network_computes_what_the_original_does_with_the_lost_channels_silent(name: str) -> None:
    model, smaller, traced, plan, shape = _pruned(name, 7)
    keep = keep_indices(traced, plan, channel_scores(model, traced, "l2"))
    modules = dict(model.named_modules())
    for index, group in enumerate(traced.info.groups):
        if group.name not in keep:
            continue
        lost = torch.ones(group.channels, dtype=torch.bool)
        lost[keep[group.name]] = False
        for module_name, owners in traced.outputs.items():
            mine = owners.group == index
            silent = torch.zeros(len(mine), dtype=torch.bool)
            silent[mine] = lost[owners.index[mine]]
            for parameter in modules[module_name].parameters():
                parameter.data[silent] = 0
    images = batch(shape).double()
    assert torch.allclose(smaller.double()(images), model.double()(images), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NETS)
def test_what_a_group_keeps_does_not_depend_on_the_others_or_on_their_order(name: str) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    plan = random_plan(traced.info, 3)
    scores = channel_scores(model, traced, "l1")
    together = keep_indices(traced, plan, scores)
    backwards = keep_indices(traced, Plan(dict(reversed(list(plan.groups.items())))), scores)
    assert together.keys() == backwards.keys()
    for group, kept in together.items():
        alone = keep_indices(traced, Plan({group: plan.groups[group]}), scores)[group]
        assert torch.equal(kept, alone) and torch.equal(kept, backwards[group])
        assert torch.equal(kept, kept.sort().values)


def test_cutting_groups_one_after_the_other_gives_the_same_network_in_any_order() -> None:
    model, shape = make("cifar_resnet_b")
    traced = trace(model, shape)
    keep = keep_indices(traced, random_plan(traced.info, 5), channel_scores(model, traced, "l1"))
    at_once = remove_channels(model, traced, keep)
    for names in (list(keep), list(reversed(keep))):
        step_by_step = model
        for name in names:
            # Every step is in the indices of the network as it is then: only this group has changed since.
            step_by_step = remove_channels(step_by_step, trace(step_by_step, shape), {name: keep[name]})
        for key, value in at_once.state_dict().items():
            assert torch.equal(value, step_by_step.state_dict()[key])


def test_the_weakest_channels_go_and_the_original_stays_as_it_was() -> None:
    model, shape = make("digits_net")
    traced = trace(model, shape)
    convolution = model.get_submodule("layer1.0.conv1")
    assert isinstance(convolution, nn.Conv2d)
    convolution.weight.data[[1, 6]] = 0
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores = channel_scores(model, traced, "l2")
    keep = keep_indices(traced, Plan({"layer1.0.conv1": 0.25}), scores)
    assert keep["layer1.0.conv1"].tolist() == [0, 2, 3, 4, 5, 7]
    smaller = remove_channels(model, traced, keep)
    assert torch.equal(
        smaller.state_dict()["layer1.0.conv1.weight"], before["layer1.0.conv1.weight"][[0, 2, 3, 4, 5, 7]]
    )
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_grouped_convolution_loses_the_weakest_channel_of_each_of_its_groups() -> None:
    model, shape = make("grouped")
    traced = trace(model, shape)
    scores = {"first.3": torch.arange(16.0)}
    kept = keep_indices(traced, Plan({"first.3": 0.25}), scores)["first.3"]
    assert kept.tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15]


def test_without_scores_the_first_channels_stay() -> None:
    traced = trace(*make("digits_net"))
    assert keep_indices(traced, Plan({"conv1": 0.5}))["conv1"].tolist() == [0, 1, 2, 3]


def test_scores_see_every_layer_that_writes_or_reads_the_channels() -> None:
    model, shape = make("concat_flatten")
    traced = trace(model, shape)
    seen: list[list[torch.Size]] = []

    def note(weights: list[Tensor], gradients: list[Tensor] | None) -> Tensor:
        seen.append([weight.shape for weight in weights])
        return torch.zeros(len(weights[0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainers.importances.l1.importance", note)
        channel_scores(model, traced, "l1")
    by_group = dict(zip((group.name for group in traced.info.groups if group.prunable), seen, strict=True))
    # Written by its own filters (8 x 3 x 3), read by `hidden`: 20 outputs x 16 positions.
    assert by_group["left"] == [(6, 8 * 9), (6, 20 * 16)]
    # `twice` writes and reads the stem's channels; `left` and `right` read them.
    assert sorted(by_group["stem"]) == [(8, 10), (8, 27), (8, 54), (8, 72), (8, 72)]


def test_rows_of_a_grouped_convolution_hold_the_weights_that_read_each_channel() -> None:
    model, shape = make("grouped")
    traced = trace(model, shape)
    grouped = model.get_submodule("first.3")
    assert isinstance(grouped, nn.Conv2d)
    for module in (model.get_submodule("first.0"), grouped):
        assert isinstance(module, nn.Conv2d)
        module.weight.data.fill_(1.0)
    # Input channel 6 is the third of group 1, whose filters are 4 to 7.
    grouped.weight.data[4:8, 2] = 0
    assert int(channel_scores(model, traced, "l2")["first.0"].argmin()) == 6


def test_taylor_scores_need_a_batch_and_depend_on_it() -> None:
    model, shape = make("digits_net")
    traced = trace(model, shape)
    with pytest.raises(ValueError, match="needs a batch"):
        channel_scores(model, traced, "taylor")
    labels = torch.tensor([0, 1, 2, 3])
    first = channel_scores(model, traced, "taylor", batch=(batch(shape), labels))
    second = channel_scores(model, traced, "taylor", batch=(batch(shape, seed=1), labels))
    assert not torch.equal(first["conv1"], second["conv1"])
    assert all(parameter.grad is None for parameter in model.parameters())
