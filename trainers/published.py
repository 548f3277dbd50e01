"""Weights that torchvision publishes for its networks, by the names it gives them."""

from __future__ import annotations

import pickle
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.spec_network import TORCHVISION


def published_state(name: str, weights: str, model: nn.Module, key: str) -> dict[str, Tensor]:
    """The state dict of the weights `torchvision:<name>` for the network of that kind of name, which `model` is.

    It is torchvision that fetches them into torch's hub folder, unless they are there. Raises `UserError` about `key`.weights where
    they are unknown, or can be neither fetched nor read.
    """
    from torchvision import models

    if not name.startswith(TORCHVISION):
        raise UserError(
            f"{key}.weights: {weights} are for networks torchvision:<name>, {key}.name is {name!r}; give a state dict's file"
        )
    name = name.removeprefix(TORCHVISION)
    known = models.get_model_weights(name).__members__
    wanted = weights.removeprefix(TORCHVISION)
    if wanted not in known:
        raise UserError(
            f"{key}.weights: torchvision has no weights {wanted!r} for {name}{rooms.nearest(wanted, list(known))}, choose from "
            f"{', '.join(known)}"
        )
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(known[wanted].url).path).name)
    there = file.is_file()
    try:
        if there:
            # Torchvision would run what is pickled in a file that somebody has placed there.
            torch.load(file, map_location="cpu", weights_only=True)
        # Torchvision's own way also knows the old names that some of the files have for their layers.
        found = models.get_model(name, weights=known[wanted], progress=False)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if there:
            raise UserError(
                f"{key}.weights: {file} is not the file that torchvision publishes ({reason}); remove it, or replace it"
            ) from None
        raise UserError(
            f"{key}.weights: {wanted} of {name} cannot be fetched ({reason}); get {known[wanted].url} elsewhere and place it as "
            f"{file}"
        ) from None
    if getattr(found, "transform_input", False) and not getattr(model, "transform_input", False):
        raise UserError(
            f"{key}.options: the weights {wanted} of {name} want images in another scale; set {key}.options = "
            "{ transform_input = true }"
        )
    return found.state_dict()
