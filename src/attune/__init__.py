"""attune: routes, guards and measures the LLM calls you already make."""
