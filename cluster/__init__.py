"""How a search reaches machines: a request is rendered as a plain value first, then sent."""
