"""The site as a whole: roll-ups once a tick, maps, filters and named limits."""
