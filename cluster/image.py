"""What the files for clusters take to be true of the image that the Dockerfile makes."""

from __future__ import annotations

#: The user `ray` of Ray's own images, and its group.
USER_OF_RAY, GROUP_OF_RAY = 1000, 100
