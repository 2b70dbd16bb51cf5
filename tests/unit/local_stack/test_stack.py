import pytest

from local_stack.errors import SetupError
from local_stack.stack import requested_port


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80.5", "²"])
def test_port_that_is_none_is_named(text: str) -> None:
    with pytest.raises(SetupError, match=f"GATEWAY_PORT={text} isn't a port"):
        requested_port("GATEWAY_PORT", text, lambda _: True)


def test_port_that_is_taken_is_named_with_the_way_out() -> None:
    with pytest.raises(SetupError, match=r"port 8080 is taken.*GATEWAY_PORT"):
        requested_port("GATEWAY_PORT", "8080", lambda _: False)
