"""The demonstration: one real LangGraph agent, three ways of calling one pool, one clock around all of them."""
