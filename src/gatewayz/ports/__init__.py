"""The whole list of effects: Protocols that the rim implements."""
