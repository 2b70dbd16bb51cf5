import socket

from local_stack.channel import Speaker, messages


def test_supervisor_is_heard_until_it_hangs_up() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            speaker = Speaker(theirs)
            speaker.say("progress", "two\nlines")
            speaker.say("ready")
        assert list(messages(ours)) == [("progress", "two\nlines"), ("ready", "")]


def test_supervisor_notices_that_nobody_listens_any_more() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        speaker = Speaker(theirs)
        assert not speaker.is_abandoned()
        ours.close()
        assert speaker.is_abandoned()
        speaker.say("progress", "to nobody")
