"""The control plane: what accounts and operators read and change. Loads FastAPI when it is used."""
