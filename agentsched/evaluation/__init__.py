"""How good forecasts are on recorded calls, beside what is simple: the judge of ``agentsched forecast eval``."""
