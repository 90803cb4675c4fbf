"""Who owns a run's processes: one module a backend, all behind `base.Backend`."""
