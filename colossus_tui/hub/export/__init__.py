"""What the hub writes to a Prometheus-compatible store; nothing here is read back."""
