"""The only place that knows both the model and the contracts."""

from colossus_tui.wire.convert import from_proto, to_proto

__all__ = ["from_proto", "to_proto"]
