"""Inbound HTTP: the server, inference, the list of models, health and the control plane."""
