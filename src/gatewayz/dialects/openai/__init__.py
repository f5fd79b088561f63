"""The wires of OpenAI's API, one package an endpoint; errors and usage are the same in all."""
