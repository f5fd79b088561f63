"""Words: values and their laws; imports nothing of ours."""
