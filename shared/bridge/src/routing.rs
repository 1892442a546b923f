//! Which headers mirror a modern body? `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*`, written and compared.
