"""An engine that decodes on an OpenAI-compatible completions server. It needs the extra `remote` (httpx, tenacity)."""
