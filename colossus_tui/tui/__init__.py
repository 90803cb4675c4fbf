"""The console: sees the hub through the client only, and shows what was measured."""
