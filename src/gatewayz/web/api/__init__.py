"""The control plane: what accounts and operators read and change. FastAPI, loaded when it is first asked for."""
