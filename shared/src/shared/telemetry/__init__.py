"""What a service tells of itself: logs, metrics, probes and the trace that it carries on."""
