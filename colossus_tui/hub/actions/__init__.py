"""Actions: preflight, policy, journal and the engine that drives each one to what was observed."""
