"""Passwords that stand in addresses of databases and stores, kept out of everything that is shown or written down for others."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

#: Up to the line's last @: whatever a password holds that should have been escaped is hidden, too.
_IN_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+]*://[^\s:@/?]*):.*@")
_AS_OPTION = re.compile(r"(\b(?:ssl)?password\s*=\s*)[^&\"'\n]+", re.IGNORECASE)
#: Options of a store's address that give access to it.
_IN_QUERY = re.compile(r"([?&]\w*(?:secret|token|access_key|account_key|credential)\w*=)[^&\"'\s]+", re.IGNORECASE)


def hide_passwords(text: str) -> str:
    """`text` with the passwords of its addresses, and those given as `password=` and the like, replaced by stars."""
    return _IN_QUERY.sub(r"\1***", _AS_OPTION.sub(r"\1***", _IN_ADDRESS.sub(r"\1:***@", text)))


def drop_passwords(address: str) -> str:
    """An address that still leads to its database, for those who have the password from elsewhere."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    options = [option for option in parts.query.split("&") if not _AS_OPTION.match(option)]
    kept = parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query="&".join(options))
    return urlunsplit(kept)
