"""How much a principal may ask for."""
