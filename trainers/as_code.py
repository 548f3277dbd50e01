"""A network in memory written down as Python: what builds its layers, and a `forward` as torch.fx traced it.

Other processes, and whoever loads the result in a year, need the network without the code that made it, and a pickle of it
would be neither safe nor readable. Layers keep their names, so the state dict is the network's own.
"""

from __future__ import annotations

import copy
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from pqsearch.errors import UserError

#: Traced code gives what the network gives up to rounding: sums may be taken in another order.
TOLERANCE = 1e-5
#: What is plain enough to be written down and read back.
_PLAIN = (bool, int, float, str, type(None))
#: Convolutions say `padding=same`.
_UNQUOTED = re.compile(r"=([A-Za-z_]+)(?=[,)])")
_WAY_OUT = "write a function that makes it and name it in [model] name"


def source_of(model: nn.Module, input_shape: tuple[int, ...]) -> str:
    """A module's source with a function `network` that makes the network, without its weights.

    Its state dict has the keys of the model's that the forward pass uses. `input_shape` is (channels, height, width). Raises
    `UserError` where the forward pass depends on its input, or a layer cannot be written down.
    """
    model = copy.deepcopy(model).cpu().float()
    try:
        graph = _graph(model)
        code = graph.python_code("self")
        source = _module(model, graph, code.src, code.globals)
        _same(model, rebuilt(source, model), input_shape)
    except UserError:
        raise
    except Exception as error:  # whatever tracing, or the network's own code, makes of it
        raise _refused(" ".join(str(error).split())[:300]) from None
    return source


def built(source: str) -> nn.Module:
    """The network that a source makes."""
    names: dict[str, Any] = {"__name__": "network"}
    exec(compile(source, "network", "exec"), names)
    found: nn.Module = names["network"]()
    return found


def rebuilt(source: str, model: nn.Module) -> nn.Module:
    """The network that a source makes, with the weights of the `model` that it was written down from."""
    found, state = built(source), model.state_dict()
    found.load_state_dict({name: state[name] for name in found.state_dict()})
    return found


def _refused(reason: str) -> UserError:
    return UserError(f"model: cannot be written down ({reason}); {_WAY_OUT}")


def _graph(model: nn.Module) -> fx.Graph:
    """Traced while it trains and while it does not: what differs is `self.training`, and nothing else may."""
    training, scoring = (fx.Tracer().trace(copy.deepcopy(model).train(mode)) for mode in (True, False))
    if [(node.op, str(node.target)) for node in training.nodes] != [
        (node.op, str(node.target)) for node in scoring.nodes
    ]:
        raise _refused("it takes another way while it trains")
    for mine, other in zip(training.nodes, scoring.nodes, strict=True):
        with training.inserting_before(mine):
            mine.args = _mode(training, mine.args, other.args)
            mine.kwargs = _mode(training, mine.kwargs, other.kwargs)
    training.lint()
    return training


def _mode(graph: fx.Graph, training: Any, scoring: Any) -> Any:
    """Arguments in which a boolean that follows the mode is read from the network."""
    if isinstance(training, (tuple, list)):
        return type(training)(_mode(graph, *pair) for pair in zip(training, scoring, strict=True))
    if isinstance(training, dict):
        return {key: _mode(graph, value, scoring[key]) for key, value in training.items()}
    if isinstance(training, fx.Node) or training == scoring:
        return training
    if (training, scoring) != (True, False):
        raise _refused(f"a value is {training} while it trains and {scoring} else")
    return graph.get_attr("training")


def _module(model: nn.Module, graph: fx.Graph, forward: str, names: dict[str, Any]) -> str:
    used = list(dict.fromkeys(str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")))
    lines = [line for name in used if name != "training" for line in _made(model, name)]
    inits = "".join(f"        {line}\n" for line in _with_containers(lines))
    # Only whoever traces it once more would need to be told what not to look into.
    body = textwrap.indent(forward[forward.index("def forward(") :].rstrip(), "    ")
    names = {name: value for name, value in names.items() if re.search(rf"\b{re.escape(name)}\b", body)}
    return (
        '"""A network that was given from memory, as torch.fx traced it."""\n\n'
        f"{''.join(_imports(names))}\n\n"
        "class Network(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"{inits}\n{body}\n\n\n"
        "def network():\n    return Network()\n"
    )


def _imports(names: dict[str, Any]) -> Iterator[str]:
    """What the traced code calls things by."""
    yield "import torch\nfrom torch import nn\n"
    for name, value in names.items():
        if name in ("torch", "nn"):
            continue
        if isinstance(value, type(torch)):
            yield f"import {value.__name__} as {name}\n"
        elif isinstance(value, (torch.device, torch.dtype)):
            yield f"{name} = {value if isinstance(value, torch.dtype) else f'torch.{value!r}'}\n"
        elif hasattr(value, "__module__") and hasattr(value, "__qualname__"):
            owner = "torch" if value.__module__ in (None, "torch._C") else value.__module__
            yield f"from {owner} import {value.__qualname__} as {name}\n"
        else:  # inf and nan
            yield f"{name} = {f'float({str(value)!r})' if isinstance(value, float) else repr(value)}\n"


def _with_containers(lines: list[tuple[str, str]]) -> Iterator[str]:
    """Assignments by path, each behind the empty modules that it stands in."""
    there = {""}
    for path, line in lines:
        parts = path.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            container = ".".join(parts[:depth])
            if container not in there:
                there.add(container)
                yield f"{_at(container)}.add_module({parts[depth - 1]!r}, nn.Module())"
        there.add(path)
        yield line


def _at(path: str) -> str:
    owner = path.rpartition(".")[0]
    return f"self.get_submodule({owner!r})" if owner else "self"


def _made(model: nn.Module, path: str) -> Iterator[tuple[str, str]]:
    """The lines that put a layer, a parameter or a buffer where it is."""
    owner, _, name = path.rpartition(".")
    parent = model.get_submodule(owner)
    found = getattr(parent, name, None)
    if isinstance(found, nn.Module):
        yield path, f"{_at(path)}.add_module({name!r}, {_layer(found)})"
        fresh = _fresh(found)
        for key, value in _settings(found).items():
            if getattr(fresh, key, None) != value:
                yield path, f"self.get_submodule({path!r}).{key} = {value!r}"
    elif not isinstance(found, Tensor):
        raise _refused(f"{path} is made while it runs")
    elif name in parent._parameters:
        yield path, f"{_at(path)}.register_parameter({name!r}, nn.Parameter(torch.zeros({tuple(found.shape)})))"
    elif name in parent._buffers and name not in parent._non_persistent_buffers_set:
        yield path, f"{_at(path)}.register_buffer({name!r}, torch.zeros({tuple(found.shape)}, dtype={found.dtype}))"
    else:
        raise _refused(f"{path} is a tensor that its state dict does not hold")


def _layer(layer: nn.Module) -> str:
    if not type(layer).__module__.startswith("torch.nn."):
        raise _refused(f"{type(layer).__name__} is no layer of torch.nn")
    return f"nn.{_UNQUOTED.sub(_quoted, repr(layer))}"


def _quoted(found: re.Match[str]) -> str:
    return found[0] if found[1] in ("True", "False", "None") else f"={found[1]!r}"


def _fresh(layer: nn.Module) -> nn.Module:
    try:
        found = eval(_layer(layer), {"nn": nn, "torch": torch})
    except Exception:
        found = None
    if type(found) is not type(layer):
        raise _refused(f"{type(layer).__name__} does not say how it is made")
    made: nn.Module = found
    return made


def _settings(layer: nn.Module) -> dict[str, Any]:
    """What a layer computes by, besides its weights."""
    return {
        key: value
        for key, value in vars(layer).items()
        if not key.startswith("_") and key != "training" and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _same(model: nn.Module, written: nn.Module, input_shape: tuple[int, ...]) -> None:
    images = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, found = model.eval()(images), written.eval()(images)
    if isinstance(wanted, Tensor) and not torch.allclose(wanted, found, rtol=TOLERANCE, atol=TOLERANCE):
        raise _refused("what is written down computes something else")
