"""The store: ports over databases, files and memory, and the secrets of the installation."""
