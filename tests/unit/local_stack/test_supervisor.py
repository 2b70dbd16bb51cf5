from local_stack.supervisor import RestartPolicy
from shared.backoff import Backoff


def _longest(_: float, high: float) -> float:
    return high


def test_first_restart_comes_within_a_second() -> None:
    policy = RestartPolicy()

    assert policy.delay(policy.deaths_in_a_row(0, uptime=0.0)) < 0.5


def test_process_that_keeps_dying_waits_longer_each_time_up_to_a_limit() -> None:
    policy = RestartPolicy(backoff=Backoff(first=0.2, longest=1.0, uniform=_longest))

    delays, deaths = [], 0
    for _ in range(5):
        deaths = policy.deaths_in_a_row(deaths, uptime=0.1)
        delays.append(policy.delay(deaths))

    assert delays == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_process_that_stayed_up_is_restarted_at_once_again() -> None:
    policy = RestartPolicy(stable_after=10.0)

    assert policy.deaths_in_a_row(7, uptime=9.9) == 8
    assert policy.deaths_in_a_row(7, uptime=10.0) == 1
