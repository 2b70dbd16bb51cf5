import os
import signal
from dataclasses import replace

from local_stack.identity import (
    ProcessIdentity,
    identify,
    is_alive,
    parse_stat,
    send_signal,
    session_members,
)

_STAT = (
    "17 {command} S 1 17 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 100 5 18446744073709551615"
)


def _myself() -> ProcessIdentity:
    own = identify(os.getpid())
    assert own is not None
    return own


def test_start_time_is_found_behind_a_command_with_spaces_and_parentheses() -> None:
    stat = parse_stat(_STAT.format(command="(a (b) c) d)"))

    assert (stat.state, stat.session, stat.start_time) == ("S", 9, 4711)
    assert not stat.has_ended


def test_zombie_has_ended() -> None:
    assert parse_stat(_STAT.format(command="(x)").replace(" S ", " Z ")).has_ended


def test_process_is_alive_under_its_own_start_time_only() -> None:
    own = _myself()

    assert is_alive(own)
    assert not is_alive(replace(own, start_time=own.start_time - 1))
    assert not is_alive(replace(own, boot="an earlier boot"))


def test_process_that_took_over_a_recycled_pid_is_not_signalled() -> None:
    earlier = replace(_myself(), start_time=0)

    send_signal(earlier, signal.SIGKILL)

    assert session_members(earlier) == []


def test_process_that_never_was_is_no_error() -> None:
    nobody = ProcessIdentity(pid=2**22 + 1, start_time=1, boot=_myself().boot)

    send_signal(nobody, signal.SIGKILL)

    assert identify(nobody.pid) is None
    assert session_members(nobody) == []
