"""The killable child processes that jobs run in."""
