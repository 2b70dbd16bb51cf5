"""What can go wrong for the person at the terminal, each as one line that says what to do."""


class SetupError(Exception):
    """Something is missing, taken or broken; the message is one line for people."""
