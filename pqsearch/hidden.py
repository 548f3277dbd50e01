"""Passwords that stand in addresses of databases, kept out of everything that is shown or written down for others."""

from __future__ import annotations

import re

#: Up to the line's last @: whatever a password holds that should have been escaped is hidden, too.
_IN_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+]*://[^\s:@/?]*):.*@")
_AS_OPTION = re.compile(r"(\b(?:ssl)?password\s*=\s*)[^&\"'\n]+", re.IGNORECASE)


def hide_passwords(text: str) -> str:
    """`text` with the passwords of its addresses, and those given as `password=`, replaced by stars."""
    return _AS_OPTION.sub(r"\1***", _IN_ADDRESS.sub(r"\1:***@", text))
