"""A whole site as a model: plan, physics, training and faults; it opens no socket."""
